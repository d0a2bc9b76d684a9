package main

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/quic-go/quic-go"
	"github.com/xtaci/smux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The clients of the rivals that bring a protocol with them.

// A dialFunc opens a session and a stream in it.
type dialFunc = func(context.Context) (io.ReadWriteCloser, error)

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func dialYamux(addr string, beat time.Duration) dialFunc {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		conn, err := dialTCP(ctx, addr)
		if err != nil {
			return nil, err
		}
		session, err := yamux.Client(conn, yamuxConfig(beat))
		if err != nil {
			return nil, err
		}
		return session.OpenStream()
	}
}

func dialSmux(addr string, beat time.Duration) dialFunc {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		conn, err := dialTCP(ctx, addr)
		if err != nil {
			return nil, err
		}
		session, err := smux.Client(conn, smuxConfig(beat))
		if err != nil {
			return nil, err
		}
		return session.OpenStream()
	}
}

// dialQUIC dials all connections from one UDP socket.
func dialQUIC(addr string, beat time.Duration) dialFunc {
	endpoint := sync.OnceValues(func() (*quic.Transport, error) {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		return &quic.Transport{Conn: conn}, err
	})
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		t, err := endpoint()
		if err != nil {
			return nil, err
		}
		server, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			return nil, err
		}
		_, clientTLS, err := certificates()
		if err != nil {
			return nil, err
		}
		clientTLS.NextProtos = []string{alpn}
		conn, err := t.Dial(ctx, server, clientTLS, &quic.Config{KeepAlivePeriod: beat})
		if err != nil {
			return nil, err
		}
		return conn.OpenStreamSync(ctx)
	}
}

// dialGRPC opens a connection, and one stream in it, for each session. It is
// the server that beats: gRPC's client refuses to more often than every 10 s.
func dialGRPC(addr string, _ time.Duration) dialFunc {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		// The context is the stream's for all its life.
		stream, err := conn.NewStream(context.WithoutCancel(ctx), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, grpcMethod)
		if err != nil {
			return nil, err
		}
		return &grpcStream{conn: conn, stream: stream}, nil
	}
}

// A grpcStream makes bytes of messages.
type grpcStream struct {
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	rest   []byte
}

func (s *grpcStream) Close() error { return s.conn.Close() }

func (s *grpcStream) Write(p []byte) (int, error) {
	if err := s.stream.SendMsg(wrapperspb.Bytes(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *grpcStream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		var msg wrapperspb.BytesValue
		if err := s.stream.RecvMsg(&msg); err != nil {
			return 0, err
		}
		s.rest = msg.Value
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
