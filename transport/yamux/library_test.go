package yamux

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

// The wire is made for one version of the library. To change that, check the tests below
// and the text of errLibrary.
func TestLibraryVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	const want = "github.com/hashicorp/yamux v0.1.2"
	if !strings.Contains(string(mod), "\t"+want+"\n") || !strings.Contains(errLibrary.Error(), want) {
		t.Errorf("go.mod and errLibrary are not both for %s", want)
	}
}

// writes records what the library writes, and the sizes of its reads.
type writes struct {
	net.Conn
	written chan []byte
	asked   chan int
}

func (w writes) Write(p []byte) (int, error) {
	w.written <- append([]byte(nil), p...)
	return w.Conn.Write(p)
}

func (w writes) Read(p []byte) (int, error) {
	select {
	case w.asked <- len(p):
	default:
	}
	return w.Conn.Read(p)
}

// The library writes each header and each body alone, and reads with room for a header.
func TestLibraryWritesHeadersAlone(t *testing.T) {
	here, there := net.Pipe()
	w := writes{here, make(chan []byte, 100), make(chan int, 1)}
	client, err := yamux.Client(w, clientConfig)
	if err != nil {
		t.Fatal(err)
	}
	server, err := yamux.Server(there, plainConfig)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := client.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	opened.Write([]byte("body"))
	accepted, err := server.AcceptStream()
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(accepted, make([]byte, 4))
	if _, err := server.Ping(); err != nil {
		t.Fatal(err)
	}
	opened.Close()
	client.GoAway()
	client.Close()
	server.Close()
	close(w.written)
	if n := <-w.asked; n < headerSize {
		t.Errorf("it asks for %d bytes", n)
	}
	seen, body := map[uint8]bool{}, 0
	for p := range w.written {
		if body > 0 {
			if len(p) != body {
				t.Errorf("a body of %d comes in %d bytes", body, len(p))
			}
			body = 0
			continue
		}
		if h := header(p); len(p) != headerSize || !h.valid() {
			t.Errorf("%x is not a header", p)
		} else {
			seen[h.typ()] = true
			body = int(h.body())
		}
	}
	if len(seen) != 4 {
		t.Errorf("types %v were written, not all four", seen)
	}
}

// If a library writes anything else, the session ends with an error that says so.
func TestAnotherLibraryVersionIsAnError(t *testing.T) {
	for name, written := range map[string][]byte{
		"half a header":        newHeader(typePing, flagSYN, 0, 1)[:6],
		"two headers":          append(newHeader(typePing, flagSYN, 0, 1), newHeader(typePing, flagSYN, 0, 2)...),
		"data":                 newHeader(typeData, 0, 1, 4),
		"a header with a body": dataFrame(0, 1, "body"),
		"another version":      append([]byte{1}, newHeader(typePing, flagSYN, 0, 1)[1:]...),
		"nothing":              {},
		"an unknown type":      newHeader(9, 0, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := connect(t)
			if _, err := client.wire.Write(written); !errors.Is(err, errLibrary) {
				t.Errorf("Write: %v", err)
			}
			ce := causeOf(t, client)
			if ce.Origin != transport.Lost || !errors.Is(ce, errLibrary) || !strings.Contains(ce.Error(), "v0.1.2") {
				t.Errorf("cause: %v", ce)
			}
		})
	}
	t.Run("a short read", func(t *testing.T) {
		client, _ := connect(t)
		if _, err := client.wire.Read(make([]byte, headerSize-1)); err != errLibrary {
			t.Errorf("Read: %v", err)
		}
	})
}
