package yamux

import (
	"time"

	"github.com/hashicorp/yamux"
)

const (
	// window is how much a peer may send on a stream before somebody reads.
	// Both ends of the protocol start from this value.
	window = 256 << 10

	// backlog is how many streams may wait to be accepted, and how many that
	// this end opened may wait for the peer's answer. The protocol expects both
	// ends to agree on it without a word; this is the library's default.
	backlog = 256

	// serverBacklog is how many streams that an accepted session opened may wait
	// for the peer's answer. Servers have many sessions and seldom open streams,
	// and yamux makes room for as many from the beginning.
	serverBacklog = 64
)

const never = 1_000_000 * time.Hour

// config is that of dialled sessions; yamux only reads it.
var config = &yamux.Config{
	AcceptBacklog:       backlog,
	MaxStreamWindowSize: window,

	// Whether the peer lives is not this layer's to judge. The interval is
	// required even so.
	EnableKeepAlive:   false,
	KeepAliveInterval: never,

	// It would end a Write half-done and leave the session in doubt. The wire
	// takes whatever it is given, so it could come due only where this process
	// itself was stopped.
	ConnectionWriteTimeout: never,

	StreamOpenTimeout:  0, // it would close the whole session
	StreamCloseTimeout: 0, // the wire limits by number what this would by time
	Logger:             silent{},
}

// serverConfig is that of accepted ones.
var serverConfig = func() *yamux.Config {
	c := *config
	c.AcceptBacklog = serverBacklog
	return &c
}()

// silent drops the library's log. What matters of it comes back as an error.
type silent struct{}

func (silent) Print(...any)          {}
func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
