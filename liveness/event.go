package liveness

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
	"unicode"
)

// An Event is one thing that happened to a listener, a session or a stream. Each session and
// each stream has one Opened and then one Closed event. A session is opened before its streams
// and closed after them.
type Event struct {
	What EventKind // what happened
	Time time.Time

	Listener  string   // Config.Name
	Transport string   // Config.Transport or Client.Transport
	Addr      net.Addr // the bound address, of Listening and AcceptFailed

	ID      uint64 // of the session, or the stream: each kind is counted from 1
	Session uint64 // of a stream: the ID of its session; 0 for a session
	Kind    Kind
	Local   net.Addr
	Remote  net.Addr
	Policy  string // the policy's name; empty for a stream without a policy of its own

	SessionStats // of the session, or the stream, at this moment

	// Of Closed:
	End  *Error        // the reason and its figures
	Late time.Duration // from the deadline to the end of closing; 0 if no deadline has passed

	Err  error         // of AcceptFailed and Retrying
	Wait time.Duration // of Retrying: until the next attempt
}

// String formats the event in one line for a log.
func (e Event) String() string { return inLine(e.text()) }

// inLine returns the first line of s, with non-graphic characters replaced: s may have a text of
// the peer, or a stack.
func inLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return '?'
	}, s)
}

func (e Event) text() string {
	s := e.What.String()
	switch e.What {
	case Opened, Closed:
		s += fmt.Sprintf(" %v %d", e.Kind, e.ID)
		if e.Session != 0 {
			s += fmt.Sprintf(" of session %d", e.Session)
		}
		if e.Remote != nil {
			s += fmt.Sprintf(" with %v", e.Remote)
		}
		switch {
		case e.End != nil:
			s += ": " + strings.TrimLeft(strings.TrimPrefix(e.End.Error(), "closed"), ": ")
		case e.Policy != "":
			s += ": " + e.Policy
		}
	default:
		if e.Addr != nil {
			s += fmt.Sprintf(" %v", e.Addr)
		}
		if e.Err != nil {
			s += fmt.Sprintf(": %v", e.Err)
		}
	}
	return s
}

// blockedAfter is the time after which a call of Events that has not returned is logged.
const blockedAfter = time.Second

// emit calls Events. Without Events it logs a failure to accept.
func (c *Config) emit(e Event) {
	if c.Events == nil {
		if e.What == AcceptFailed {
			c.errorLog().Warn("liveness: accepting failed", "error", e.Err)
		}
		return
	}
	e.Time = time.Now()
	e.Listener, e.Transport = c.Name, c.Transport
	defer time.AfterFunc(blockedAfter, func() {
		if c.engine().mayLog() {
			c.errorLog().Warn("liveness: Events has not returned for a second", "event", e.String())
		}
	}).Stop()
	c.Events(e)
}

// logFailure logs a handler's error or panic that no event reports.
func (s *state) logFailure(err error) {
	l := s.cfg.errorLog().With("kind", s.kind().String(), "id", s.id)
	if s.parent != nil {
		l = l.With("session", s.parent.id)
	}
	l.Error("liveness: a handler failed", "error", err)
}

func (c *Config) errorLog() *slog.Logger {
	l := c.ErrorLog
	if l == nil {
		l = slog.Default()
	}
	if c.Name != "" {
		l = l.With("listener", c.Name)
	}
	return l
}

// EventKind says what happened.
type EventKind uint8

const (
	Listening    EventKind = iota // a listener is bound and accepts
	Opened                        // a session or stream began
	Closed                        // a session or stream ended
	AcceptFailed                  // accepting failed, and is tried again
	DrainBegan                    // a listener stopped accepting and asks its peers to finish
	Retrying                      // Client.Reconnect waits before it dials again
)

var eventNames = [...]string{"listening", "opened", "closed", "accept-failed", "draining", "retrying"}

func (k EventKind) String() string {
	if int(k) >= len(eventNames) {
		return "unknown"
	}
	return eventNames[k]
}

// Kind distinguishes sessions and streams.
type Kind uint8

const (
	KindSession Kind = iota
	KindStream
)

func (k Kind) String() string {
	if k == KindStream {
		return "stream"
	}
	return "session"
}
