package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
)

// A kind is a kind of server, with a client that it gets on with.
type kind struct {
	name  string
	ours  bool
	udp   bool
	beat  string // what a beat is
	serve func(*server) (addr string, err error)
	dial  func(addr string, beat time.Duration) client

	// beatsItself: the library beats without being asked to.
	beatsItself bool
}

// A server is what all kinds of them share.
type server struct {
	beat time.Duration
	live atomic.Int64 // sessions, each with a stream where it has streams

	// count, if set, knows better.
	count func() int
}

// sessions is how many live.
func (s *server) sessions() int {
	if s.count != nil {
		return s.count()
	}
	return int(s.live.Load())
}

// A client holds sessions. Its methods are called from one goroutine.
type client interface {
	// open opens sessions until there are n, and has every new one answered
	// once.
	open(n int) error

	// beat begins to send a message on each session in every interval, if the
	// library does not beat by itself.
	beat(every time.Duration)

	// rest stops that, and returns how many were answered.
	rest() (int64, error)
}

// idleTimeout is how much silence the servers bear that are asked for that.
const idleTimeout = 30 * time.Second

const (
	echoed    = "5 bytes, echoed"
	echoedSet = "5 bytes, echoed; SetReadDeadline"
	ownPing   = "the client's Ping, answered"
	bothPing  = "both ends ask, and answer"
)

var kinds = []kind{
	{name: "net, 1 KiB buffer", beat: echoedSet, serve: serveNet(echoPlain), dial: dialSockets},
	{name: "net, bufio both ways", beat: echoedSet, serve: serveNet(echoBuffered), dial: dialSockets},
	{name: "gnet", beat: "5 bytes, echoed; no deadline, as it has none", serve: serveGnet, dial: dialSockets},
	{name: "nbio", beat: echoedSet, serve: serveNbio, dial: dialSockets},
	{name: "livenet tcp", ours: true, beat: echoed, serve: serveLivenet(overTCP, codec.Raw, handled), dial: dialSockets},
	{name: "livenet tcp parked", ours: true, beat: echoed, serve: serveLivenet(parked, codec.Raw, fed), dial: dialSockets},
	{name: "livenet tcp, own beats", ours: true, beat: ownPing, beatsItself: true,
		serve: serveLivenet(overTCP, codec.Frame, handled), dial: dialLivenet(overTCP)},
	{name: "livenet tcp parked, own beats", ours: true, beat: ownPing, beatsItself: true,
		serve: serveLivenet(parked, codec.Frame, fed), dial: dialLivenet(overTCP)},
	{name: "hashicorp/yamux", beat: bothPing, beatsItself: true, serve: serveYamux, dial: dialYamux},
	{name: "livenet yamux", ours: true, beat: ownPing, beatsItself: true,
		serve: serveLivenet(overYamux, codec.Frame, handled), dial: dialLivenet(overYamux)},
	{name: "livenet yamux, fed", ours: true, beat: ownPing, beatsItself: true,
		serve: serveLivenet(overYamux, codec.Frame, fed), dial: dialLivenet(overYamux)},
	{name: "xtaci/smux", beat: "both ends say NOP, unanswered", beatsItself: true, serve: serveSmux, dial: dialSmux},
	{name: "grpc-go", beat: "the server's PING, acknowledged", beatsItself: true, serve: serveGRPC, dial: dialGRPC},
	{name: "quic-go", udp: true, beat: "the client's PING, acknowledged", beatsItself: true, serve: serveQUIC, dial: dialQUIC},
	{name: "livenet quic", ours: true, udp: true, beat: ownPing, beatsItself: true,
		serve: serveLivenet(overQUIC, codec.Frame, handled), dial: dialLivenet(overQUIC)},
}

func kindOf(name string) (*kind, error) {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i], nil
		}
	}
	return nil, fmt.Errorf("there is no kind %q", name)
}
