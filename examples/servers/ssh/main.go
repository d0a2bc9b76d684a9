// Ssh is an SSH server that knows which of its clients are still there:
// golang.org/x/crypto/ssh, and one line of liveness. It lets anybody in, to do little.
//
//	go run ./ssh                           # in examples/servers
//	ssh -p 2222 127.0.0.1                  # a shell that repeats what it's told
//	ssh -p 2222 127.0.0.1 clock 1m         # prints the time every minute
//	ssh -p 2222 127.0.0.1 sessions         # who is connected
//	ssh -p 2222 127.0.0.1 kick 1           # end one
//
// Who only watches a command print, or leaves a shell open over night, lives as long as
// its system acknowledges. One that has vanished is ended after the timeout.
package main

import (
	"crypto/ed25519"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/livenet/livenet/liveness"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:2222", "`address` to serve on")
	timeout := flag.Duration("timeout", 10*time.Second, "how long a client may give no sign of life")
	flag.Parse()
	inner, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(serve(liveness.NewListener(inner, config(*timeout)))) // the line
}

func config(timeout time.Duration) *liveness.Config {
	return &liveness.Config{Policy: liveness.Sliding(timeout), Events: func(e liveness.Event) { log.Println(e) }}
}

func serve(l *liveness.Listener) error {
	_, key, _ := ed25519.GenerateKey(nil)
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	conf := &ssh.ServerConfig{NoClientAuth: true}
	conf.AddHostKey(signer)
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go handle(l, conn.(*liveness.Conn), conf)
	}
}

func handle(l *liveness.Listener, conn *liveness.Conn, conf *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, conf)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		ch, requests, err := c.Accept()
		if err != nil {
			return
		}
		conn.BeforeClose(func(e *liveness.Error) { fmt.Fprintf(ch.Stderr(), "%v\r\n", e) })
		go func() {
			for r := range requests {
				var exec struct{ Command string }
				ssh.Unmarshal(r.Payload, &exec)
				runs := r.Type == "shell" || r.Type == "exec"
				r.Reply(runs || r.Type == "pty-req", nil)
				if runs {
					go func() {
						defer ch.Close()
						run(l, ch, exec.Command, conn.Done())
						ch.SendRequest("exit-status", false, make([]byte, 4))
					}()
				}
			}
		}()
	}
}

// run runs a command, until the client has gone at most.
func run(l *liveness.Listener, client io.ReadWriter, command string, gone <-chan struct{}) {
	name, arg, _ := strings.Cut(command, " ")
	switch name {
	case "": // the shell
		io.Copy(client, client)
	case "clock":
		every, _ := time.ParseDuration(arg)
		for {
			fmt.Fprintln(client, time.Now().Format(time.TimeOnly))
			select {
			case <-time.After(max(every, time.Second)):
			case <-gone:
				return
			}
		}
	case "sessions":
		for s := range l.Sessions() {
			fmt.Fprintln(client, s.ID(), s.RemoteAddr(), s.Stats().Age)
		}
	case "kick":
		id, _ := strconv.ParseUint(arg, 10, 64)
		if s := l.Session(id); s != nil {
			s.CloseWith(liveness.Kicked, "")
		}
	}
}
