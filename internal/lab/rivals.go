package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
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

// A rival is a server of another kind, with a client that it gets on with.
type rival struct {
	name  string
	udp   bool
	beat  string // what a beat is
	serve func(*rivalServer) (addr string, err error)

	// dial is nil where the protocol is beatLine, echoed: a raw client speaks that.
	// The others beat by themselves.
	dial func(addr string, beat time.Duration) func(context.Context) (io.ReadWriteCloser, error)
}

// A rivalServer is what all kinds of them share.
type rivalServer struct {
	beat time.Duration
	live atomic.Int64 // sessions, each with a stream where it has streams
}

const (
	// idleTimeout is how much silence the servers bear that are asked for that.
	idleTimeout = 30 * time.Second

	// alpn is the application protocol of quic-go's connections.
	alpn = "lab"

	echoedSet = "5 bytes, echoed; SetReadDeadline"
)

var rivals = []rival{
	{name: "net, 1 KiB buffer", beat: echoedSet, serve: serveNet(echoPlain)},
	{name: "net, bufio both ways", beat: echoedSet, serve: serveNet(echoBuffered)},
	{name: "gnet", beat: "5 bytes, echoed; no deadline, as it has none", serve: serveGnet},
	{name: "nbio", beat: echoedSet, serve: serveNbio},
	{name: "hashicorp/yamux", beat: "both ends ask, and answer", serve: serveMux(wrapYamux), dial: dialYamux},
	{name: "xtaci/smux", beat: "both ends say NOP, unanswered", serve: serveMux(wrapSmux), dial: dialSmux},
	{name: "grpc-go", beat: "the server's PING, acknowledged", serve: serveGRPC, dial: dialGRPC},
	{name: "quic-go", udp: true, beat: "the client's PING, acknowledged", serve: serveQUIC, dial: dialQUIC},
}

func rivalOf(name string) (*rival, error) {
	for i := range rivals {
		if rivals[i].name == name {
			return &rivals[i], nil
		}
	}
	return nil, fmt.Errorf("there is no rival %q", name)
}

func serveRival(t serveTask, a *answer) (role, error) {
	r, err := rivalOf(t.Rival)
	if err != nil {
		return nil, err
	}
	s := &rivalServer{beat: t.Beat}
	a.Addr, err = r.serve(s)
	return &server{live: func() int { return int(s.live.Load()) }}, err
}

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
func serveNet(echo func(net.Conn)) func(*rivalServer) (string, error) {
	return func(s *rivalServer) (string, error) {
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
func (s *rivalServer) echo(stream io.ReadWriteCloser) {
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
	*rivalServer
	booted chan<- gnet.Engine
}

func serveGnet(s *rivalServer) (string, error) {
	booted, failed := make(chan gnet.Engine, 1), make(chan error, 1)
	go func() {
		failed <- gnet.Run(&gnetServer{rivalServer: s, booted: booted}, "tcp://127.0.0.1:0", gnet.WithMulticore(true))
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

func serveNbio(s *rivalServer) (string, error) {
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

// serveMux serves sessions of streams over TCP. wrap makes one, and returns how to
// accept its streams.
func serveMux(wrap func(*rivalServer, net.Conn) (accept func() (io.ReadWriteCloser, error), err error)) func(*rivalServer) (string, error) {
	return func(s *rivalServer) (string, error) {
		return listenTCP(func(conn net.Conn) {
			defer conn.Close()
			accept, err := wrap(s, conn)
			for err == nil {
				var stream io.ReadWriteCloser
				if stream, err = accept(); err == nil {
					go s.echo(stream)
				}
			}
		})
	}
}

func wrapYamux(s *rivalServer, conn net.Conn) (func() (io.ReadWriteCloser, error), error) {
	session, err := yamux.Server(conn, yamuxConfig(s.beat))
	return func() (io.ReadWriteCloser, error) { return session.AcceptStream() }, err
}

func wrapSmux(s *rivalServer, conn net.Conn) (func() (io.ReadWriteCloser, error), error) {
	session, err := smux.Server(conn, smuxConfig(s.beat))
	return func() (io.ReadWriteCloser, error) { return session.AcceptStream() }, err
}

func yamuxConfig(beat time.Duration) *yamux.Config {
	c := yamux.DefaultConfig()
	c.KeepAliveInterval = beat
	c.LogOutput = io.Discard
	return c
}

func smuxConfig(beat time.Duration) *smux.Config {
	c := smux.DefaultConfig()
	c.KeepAliveInterval = beat
	return c
}

// grpcMethod is a method that no service description knows: it saves code that
// is generated.
const grpcMethod = "/lab.Echo/Echo"

func serveGRPC(s *rivalServer) (string, error) {
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

func serveQUIC(s *rivalServer) (string, error) {
	serverTLS, _, err := certificates()
	if err != nil {
		return "", err
	}
	serverTLS.NextProtos = []string{alpn}
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
