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
	// window is how much a peer may send on a stream before somebody reads.
	// Both ends of the protocol start from this value.
	window = 256 << 10

	// backlog is how many streams may wait to be accepted, and how many that
	// this end opened may wait for the peer's answer. The protocol has both ends
	// agree on it without a word.
	backlog = 256

	// serverBacklog is how many an accepted session may have opened without an
	// answer. Servers have many sessions and seldom open streams, and the library
	// allocates room for as many at the start.
	serverBacklog = 64
)

// libraryConfig returns the library's config of sessions that may have so many
// streams unanswered.
func libraryConfig(unanswered int) *yamux.Config {
	const never = 1_000_000 * time.Hour
	return &yamux.Config{
		AcceptBacklog:       unanswered,
		MaxStreamWindowSize: window,

		// Whether the peer lives is not this layer's to judge. The interval is
		// required even so.
		EnableKeepAlive:   false,
		KeepAliveInterval: never,

		// It would end a Write half-done and leave the session in doubt. The wire
		// takes whatever it is given at once.
		ConnectionWriteTimeout: never,

		StreamOpenTimeout:  0, // it would close the whole session
		StreamCloseTimeout: 1, // Close of a stream frees it at once: FIN and RST are sent by the wire

		Logger: log.New(io.Discard, "", 0), // what matters of it comes back as an error
	}
}
