package yamux

import (
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// longAgo is a deadline in the past.
var longAgo = time.Unix(1, 0)

// plainConfig is for the library without this package.
var plainConfig = func() *yamux.Config {
	c := yamux.DefaultConfig()
	c.LogOutput, c.EnableKeepAlive = io.Discard, false
	return c
}()

func dataFrame(flags uint16, id uint32, body string) []byte {
	return append(newHeader(typeData, flags, id, uint32(len(body))), body...)
}

func resetFrame(id, code uint32) header { return newHeader(typeWindowUpdate, flagRST, id, code) }
func goAwayFrame(code uint32) header    { return newHeader(typeGoAway, 0, 0, code) }

// setReceiveBudget changes the budget of a session that is being tested.
func (s *session) setReceiveBudget(n int) {
	s.mu.Lock()
	defer s.unlock()
	s.budget = n
}
