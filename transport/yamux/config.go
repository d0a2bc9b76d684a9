package yamux

import (
	"io"
	"log"
	"time"

	"github.com/hashicorp/yamux"
)

// Config tunes sessions. Nil and zero fields stand for the defaults.
type Config struct {
	// ReceiveBudget is how many bytes of memory the unread input of all of a session's
	// streams may take: 4 MiB by default, and at least 512 KiB. The package documentation
	// says what happens when it is used up.
	ReceiveBudget int
}

func (c *Config) receiveBudget() int {
	if c == nil || c.ReceiveBudget == 0 {
		return 4 << 20
	}
	return max(c.ReceiveBudget, 2*window)
}

const (
	window        = 256 << 10 // bytes that a peer may send on a stream before it is read
	backlog       = 256       // streams that may wait for AcceptStream, or for the peer's ACK
	serverBacklog = 64        // streams that may wait for the peer's ACK on an accepted session
)

var clientConfig, serverConfig = libraryConfig(backlog), libraryConfig(serverBacklog)

func libraryConfig(unacked int) *yamux.Config {
	const never = 1_000_000 * time.Hour
	return &yamux.Config{
		AcceptBacklog:          unacked,
		MaxStreamWindowSize:    window,
		EnableKeepAlive:        false,                      // package liveness decides about the peer
		KeepAliveInterval:      never,                      // must not be zero, even if it is off
		ConnectionWriteTimeout: never,                      // a Write to the wire never blocks
		StreamOpenTimeout:      0,                          // it would close the whole session
		StreamCloseTimeout:     1,                          // closing the library's stream only frees it
		Logger:                 log.New(io.Discard, "", 0), // errors are returned as well
	}
}
