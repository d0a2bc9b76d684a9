package yamux

import (
	"io"
	"net"
	"testing"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport/tcp"
)

// benchPairs are a stream of this package, and one of the library alone.
var benchPairs = map[string]func(*testing.B) (net.Conn, net.Conn){
	"adapter": func(b *testing.B) (net.Conn, net.Conn) {
		over := Transport{Inner: tcp.Transport{}}
		l, err := over.Listen(b.Context(), "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		client, err := over.Dial(b.Context(), l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		server, err := l.Accept(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { client.Close(0, ""); server.Close(0, "") })
		opened, err := client.OpenStream(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		accepted, err := server.AcceptStream(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		return opened, accepted
	},
	"library": func(b *testing.B) (net.Conn, net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		dialled, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		client, _ := yamux.Client(dialled, plainConfig)
		server, _ := yamux.Server(conn, plainConfig)
		b.Cleanup(func() { client.Close(); server.Close() })
		opened, err := client.Open()
		if err != nil {
			b.Fatal(err)
		}
		accepted, err := server.Accept()
		if err != nil {
			b.Fatal(err)
		}
		return opened, accepted
	},
}

func BenchmarkEcho(b *testing.B) {
	for name, pair := range benchPairs {
		b.Run(name, func(b *testing.B) {
			here, there := pair(b)
			go io.Copy(there, there)
			p := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := here.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(here, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkThroughput(b *testing.B) {
	for name, pair := range benchPairs {
		b.Run(name, func(b *testing.B) {
			here, there := pair(b)
			go io.Copy(io.Discard, there)
			p := make([]byte, 64<<10)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := here.Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
