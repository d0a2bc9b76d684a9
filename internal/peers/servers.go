package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/panjf2000/gnet/v2"
	"github.com/quic-go/quic-go"
	"github.com/xtaci/smux"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The servers are written as each library's own examples have them, with its
// defaults, but for the interval of its beats. All of them echo.

// listenTCP accepts connections, and serves each in a goroutine of its own.
func listenTCP(serve func(net.Conn)) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, "accept:", err)
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String(), nil
}

// serveNet is what package net alone can do.
func serveNet(echo func(net.Conn)) func(*server) (string, error) {
	return func(s *server) (string, error) {
		return listenTCP(func(conn net.Conn) {
			defer conn.Close()
			s.live.Add(1)
			defer s.live.Add(-1)
			echo(conn)
		})
	}
}

func echoPlain(conn net.Conn) {
	buf := make([]byte, 1024)
	for {
		conn.SetReadDeadline(time.Now().Add(idleTimeout))
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

func echoBuffered(conn net.Conn) {
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	for {
		conn.SetReadDeadline(time.Now().Add(idleTimeout))
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		w.Write(line)
		if w.Flush() != nil {
			return
		}
	}
}

// echo echoes one stream until its end.
func (s *server) echo(stream io.ReadWriteCloser) {
	defer stream.Close()
	s.live.Add(1)
	defer s.live.Add(-1)
	buf := make([]byte, 1024)
	for {
		n, err := stream.Read(buf)
		if err != nil {
			return
		}
		if _, err := stream.Write(buf[:n]); err != nil {
			return
		}
	}
}

// gnetServer is an event loop's handler.
type gnetServer struct {
	gnet.BuiltinEventEngine
	*server
	booted chan<- gnet.Engine
}

func serveGnet(s *server) (string, error) {
	booted, failed := make(chan gnet.Engine, 1), make(chan error, 1)
	go func() {
		failed <- gnet.Run(&gnetServer{server: s, booted: booted}, "tcp://127.0.0.1:0", gnet.WithMulticore(true))
	}()
	select {
	case engine := <-booted:
		return addrOfEngine(engine)
	case err := <-failed:
		return "", err
	}
}

// addrOfEngine finds out the port, which gnet does not tell.
func addrOfEngine(engine gnet.Engine) (string, error) {
	fd, err := engine.Dup()
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	if addr, ok := addr.(*unix.SockaddrInet4); ok {
		return fmt.Sprintf("127.0.0.1:%d", addr.Port), nil
	}
	return "", errors.New("gnet does not listen on IPv4")
}

func (s *gnetServer) OnBoot(engine gnet.Engine) gnet.Action {
	s.booted <- engine
	return gnet.None
}

func (s *gnetServer) OnOpen(gnet.Conn) ([]byte, gnet.Action) {
	s.live.Add(1)
	return nil, gnet.None
}

func (s *gnetServer) OnClose(gnet.Conn, error) gnet.Action {
	s.live.Add(-1)
	return gnet.None
}

func (s *gnetServer) OnTraffic(c gnet.Conn) gnet.Action {
	data, err := c.Next(-1)
	if err != nil {
		return gnet.Close
	}
	if _, err := c.Write(data); err != nil {
		return gnet.Close
	}
	return gnet.None
}

func serveNbio(s *server) (string, error) {
	logging.SetLevel(logging.LevelError)
	engine := nbio.NewEngine(nbio.Config{Network: "tcp", Addrs: []string{"127.0.0.1:0"}})
	engine.OnOpen(func(c *nbio.Conn) {
		s.live.Add(1)
		c.SetReadDeadline(time.Now().Add(idleTimeout))
	})
	engine.OnClose(func(*nbio.Conn, error) { s.live.Add(-1) })
	engine.OnData(func(c *nbio.Conn, data []byte) {
		c.SetReadDeadline(time.Now().Add(idleTimeout))
		c.Write(data)
	})
	if err := engine.Start(); err != nil {
		return "", err
	}
	return engine.Addrs[0], nil
}

func yamuxConfig(beat time.Duration) *yamux.Config {
	c := yamux.DefaultConfig()
	c.KeepAliveInterval = beat
	c.LogOutput = io.Discard
	return c
}

func serveYamux(s *server) (string, error) {
	return listenTCP(func(conn net.Conn) {
		session, err := yamux.Server(conn, yamuxConfig(s.beat))
		if err != nil {
			conn.Close()
			return
		}
		defer session.Close()
		for {
			stream, err := session.AcceptStream()
			if err != nil {
				return
			}
			go s.echo(stream)
		}
	})
}

func smuxConfig(beat time.Duration) *smux.Config {
	c := smux.DefaultConfig()
	c.KeepAliveInterval = beat
	return c
}

func serveSmux(s *server) (string, error) {
	return listenTCP(func(conn net.Conn) {
		session, err := smux.Server(conn, smuxConfig(s.beat))
		if err != nil {
			conn.Close()
			return
		}
		defer session.Close()
		for {
			stream, err := session.AcceptStream()
			if err != nil {
				return
			}
			go s.echo(stream)
		}
	})
}

// grpcMethod is a method that no service description knows: it saves code that
// is generated.
const grpcMethod = "/peers.Echo/Echo"

func serveGRPC(s *server) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	g := grpc.NewServer(
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: s.beat}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			s.live.Add(1)
			defer s.live.Add(-1)
			for {
				msg := new(wrapperspb.BytesValue)
				if err := stream.RecvMsg(msg); err != nil {
					return err
				}
				if err := stream.SendMsg(msg); err != nil {
					return err
				}
			}
		}),
	)
	go func() {
		if err := g.Serve(l); err != nil {
			fmt.Fprintln(os.Stderr, "grpc:", err)
		}
	}()
	return l.Addr().String(), nil
}

func serveQUIC(s *server) (string, error) {
	serverTLS, _, err := certificates()
	if err != nil {
		return "", err
	}
	l, err := quic.ListenAddr("127.0.0.1:0", serverTLS, nil)
	if err != nil {
		return "", err
	}
	go func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				fmt.Fprintln(os.Stderr, "quic:", err)
				return
			}
			go func() {
				for {
					stream, err := conn.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go s.echo(stream)
				}
			}()
		}
	}()
	return l.Addr().String(), nil
}
