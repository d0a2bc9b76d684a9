package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/quic"
	"github.com/livenet/livenet/transport/tcp"
	"github.com/livenet/livenet/transport/yamux"
)

// A detectTask makes a worker the server or the peers of a detection.
type detectTask struct {
	Serve   bool
	Timeout time.Duration // of the server's policy
}

// A connectTask has peers connect, one for each transport and evidence.
type connectTask struct {
	Host    string
	Ports   map[string]string // of "transport evidence"
	Traffic traffic
}

// Traffic is what the server sends to a peer: the peer's first byte says so.
type traffic byte

const (
	noData   traffic = iota
	someData         // a little, all the time
	allData          // all that there is room for, and the peer reads none of it
)

type detectState struct {
	Addrs  map[string]string `json:",omitempty"` // ports of "transport evidence"
	Ends   []detectEnd       `json:",omitempty"`
	Stalls int               // that the engine has noticed
}

// A detectEnd is a session's.
type detectEnd struct {
	Transport, Evidence string
	Host                string // of the peer
	Reason              string
	At                  time.Time
	Seen                time.Time // its last sign of life on the wire; zero: only the processes know
	Stalls              int       // of the server, by then
}

// A detectServer has a server for each transport and evidence.
type detectServer struct {
	engine liveness.Engine
	addrs  map[string]string
	wire   *wire

	mu   sync.Mutex
	ends []detectEnd
}

func newDetector(t detectTask, a *answer) (role, error) {
	if !t.Serve {
		return &detectPeers{timeout: t.Timeout}, nil
	}
	s := &detectServer{addrs: make(map[string]string)}
	var err error
	if s.wire, err = listenWire(); err != nil {
		return nil, err
	}
	for _, over := range transports {
		for _, evidence := range evidences {
			if err := s.serve(over, evidence, t.Timeout); err != nil {
				return nil, err
			}
		}
	}
	a.Detect = &detectState{Addrs: s.addrs}
	return s, nil
}

func (s *detectServer) serve(over, evidence string, timeout time.Duration) error {
	t, err := listening(over, true, timeout)
	if err != nil {
		return err
	}
	if q, ok := t.(quic.Transport); ok {
		q.Config.KeepAlivePeriod = timeout / 3
	}
	l, err := t.Listen(context.Background(), "0.0.0.0:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return err
	}
	s.addrs[over+" "+evidence] = port
	kind := map[string]codec.Evidence{"acks": codec.Acks, "bytes": codec.Bytes, "beats": codec.Beats}[evidence]
	srv := &liveness.Server{
		Config: liveness.Config{Policy: liveness.Sliding(timeout), Evidence: kind, Engine: &s.engine, Events: func(e liveness.Event) {
			if e.What == liveness.Closed && e.Kind == liveness.KindSession {
				s.ended(over, evidence, port, e)
			}
		}},
		Codec: codec.Frame, Handler: sendTraffic,
	}
	go srv.Serve(context.Background(), l) // until the process ends
	return nil
}

func (s *detectServer) ended(over, evidence, port string, e liveness.Event) {
	host, _, _ := net.SplitHostPort(e.Remote.String())
	end := detectEnd{Transport: over, Evidence: evidence, Host: host, Reason: e.End.Reason.String(), At: e.Time, Stalls: int(s.engine.Stats().Stalls)}
	if over == "tcp" || over == "tls" {
		end.Seen = s.wire.seen(host, port, evidence != "acks")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, end)
}

// sendTraffic is the server's handler.
func sendTraffic(_ context.Context, c *liveness.Conn) {
	kind := make([]byte, 1)
	if _, err := io.ReadFull(c, kind); err != nil {
		return
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		piece := make([]byte, 64<<10)
		for err := error(nil); err == nil && traffic(kind[0]) == allData; {
			_, err = c.Write(piece)
		}
		for err := error(nil); err == nil && traffic(kind[0]) == someData; {
			time.Sleep(20 * time.Millisecond)
			_, err = c.Write(piece[:100])
		}
	})
	io.Copy(io.Discard, c)
}

func (s *detectServer) obey(o order, a *answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Detect = &detectState{Ends: s.ends, Stalls: int(s.engine.Stats().Stalls)}
	return ip(o.IP)
}

// A detectPeers connects to each of the servers.
type detectPeers struct{ timeout time.Duration }

func (p *detectPeers) obey(o order, a *answer) error {
	if err := ip(o.IP); err != nil || o.Connect == nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(o.Connect.Ports))
	for name, port := range o.Connect.Ports {
		wg.Go(func() {
			over, evidence, _ := strings.Cut(name, " ")
			errs <- p.connect(over, evidence, net.JoinHostPort(o.Connect.Host, port), o.Connect.Traffic)
		})
	}
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

func (p *detectPeers) connect(over, evidence, addr string, kind traffic) error {
	t, err := p.dialling(over)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	client := liveness.Client{Codec: codec.Frame, NoBeat: evidence == "acks", Policy: liveness.Sliding(unjudged)}
	c, err := client.Dial(ctx, t, addr)
	if err != nil {
		return fmt.Errorf("%s %s: %w", over, evidence, err)
	}
	if _, err := c.Write([]byte{byte(kind)}); err != nil {
		return err
	}
	if kind != allData {
		go io.Copy(io.Discard, c) // until the process ends
	}
	return nil
}

// dialling is a transport's client end from whichever address there is.
func (p *detectPeers) dialling(over string) (transport.Transport, error) {
	_, clientTLS, err := certificates()
	switch over {
	case "tcp":
		return tcp.Transport{}, err
	case "tls":
		return tcp.Transport{TLS: clientTLS}, err
	case "yamux":
		return yamux.Transport{Inner: tcp.Transport{}}, err
	}
	return quic.Transport{TLS: clientTLS, Config: quicConfig(p.timeout)}, err
}

// ip changes this process's network.
func ip(commands []string) error {
	for _, c := range commands {
		if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// A wire sees the packets of TCP that reach this process's network, and when.
type wire struct {
	mu   sync.Mutex
	last map[flow]time.Time
}

// A flow is what a host sends to a port here: anything, or data.
type flow struct {
	host, port string
	data       bool
}

func (w *wire) seen(host, port string, data bool) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[flow{host, port, data}]
}

func listenWire() (*wire, error) {
	const proto = unix.ETH_P_IP<<8&0xff00 | unix.ETH_P_IP>>8 // in the network's order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("a packet socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return nil, err
	}
	w := &wire{last: make(map[flow]time.Time)}
	go w.read(fd) // until the process ends
	return w, nil
}

func (w *wire) read(fd int) {
	packet, control := make([]byte, 128), make([]byte, 128)
	for {
		_, n, _, from, err := unix.Recvmsg(fd, packet, control, 0)
		if err == unix.EINTR {
			continue
		} else if err != nil {
			return
		}
		if l, ok := from.(*unix.SockaddrLinklayer); !ok || l.Pkttype != unix.PACKET_HOST || packet[9] != unix.IPPROTO_TCP {
			continue
		}
		at := time.Now()
		if messages, err := unix.ParseSocketControlMessage(control[:n]); err == nil && len(messages) == 1 && len(messages[0].Data) >= 16 {
			d := messages[0].Data
			at = time.Unix(int64(binary.NativeEndian.Uint64(d)), int64(binary.NativeEndian.Uint64(d[8:])))
		}
		header := int(packet[0]&0xf) * 4
		segment := packet[header:]
		payload := int(binary.BigEndian.Uint16(packet[2:])) - header - int(segment[12]>>4)*4
		f := flow{host: net.IP(packet[12:16]).String(), port: fmt.Sprint(binary.BigEndian.Uint16(segment[2:]))}
		w.mu.Lock()
		w.last[f] = at
		if f.data = true; payload > 0 {
			w.last[f] = at
		}
		w.mu.Unlock()
	}
}
