package yamux

import (
	"io"
	"log"
	"time"

	"github.com/hashicorp/yamux"
)

// Config tunes sessions. Nil and zero fields stand for the defaults.
type Config struct {
	// ReceiveBudget is how many bytes of memory the unread input of a session's
	// streams may take, all of them together: 4 MiB by default, and never less
	// than 512 KiB. The package's documentation says what happens beyond.
	ReceiveBudget int
}

func (c *Config) receiveBudget() int {
	if c == nil || c.ReceiveBudget == 0 {
		return 4 << 20
	}
	return max(c.ReceiveBudget, 2*window)
}

const (
	window        = 256 << 10 // how much a peer may send on a stream before somebody reads
	backlog       = 256       // how many streams may wait to be accepted, or for the peer's answer
	serverBacklog = 64        // the latter on accepted sessions, where room for more is seldom used
)

var clientConfig, serverConfig = libraryConfig(backlog), libraryConfig(serverBacklog)

func libraryConfig(unanswered int) *yamux.Config {
	const never = 1_000_000 * time.Hour
	return &yamux.Config{
		AcceptBacklog:          unanswered,
		MaxStreamWindowSize:    window,
		EnableKeepAlive:        false,                      // whether the peer lives is not this layer's to judge
		KeepAliveInterval:      never,                      // required even so
		ConnectionWriteTimeout: never,                      // the wire takes whatever it is given at once
		StreamOpenTimeout:      0,                          // it would close the whole session
		StreamCloseTimeout:     1,                          // Close of a stream only frees it, at once
		Logger:                 log.New(io.Discard, "", 0), // what matters comes back as an error
	}
}
