// Command transport has its own transport, over unix-domain sockets, and an echo over it. A
// single-stream transport needs only unix.go; transport.Single does the rest. The conformance
// suite in main_test.go checks that it keeps the promises of package transport.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/livenet/livenet/transport"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "echo")

	l, err := Unix{}.Listen(ctx, path)
	if err != nil {
		return err
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l) }()

	err = talk(ctx, path, out)
	if err != nil {
		cancel() // the server may not even have anything to accept
	}
	return errors.Join(err, <-served)
}

// serve echoes the stream of one session.
func serve(ctx context.Context, l transport.Listener) error {
	session, err := l.Accept(ctx)
	if err != nil {
		return err
	}
	defer session.Close(0, "")
	stream, err := session.AcceptStream(ctx)
	if err != nil {
		return err
	}
	if _, err := io.Copy(stream, stream); err != nil {
		return err
	}
	return stream.CloseWrite()
}

// talk sends a text, half-closes, and prints the echo.
func talk(ctx context.Context, path string, out io.Writer) error {
	session, err := Unix{}.Dial(ctx, path)
	if err != nil {
		return err
	}
	defer session.Close(0, "")
	stream, err := session.OpenStream(ctx)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stream, "hello over a unix-domain socket"); err != nil {
		return err
	}
	if err := stream.CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(out, stream)
	return err
}
