package quic

import (
	"context"
	"net"
	"strings"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// attemptDelay is the delay before the next address is tried as well (RFC 8305, section 5).
const attemptDelay = 250 * time.Millisecond

// attempt is the result of dialling one address.
type attempt struct {
	conn *quicgo.Conn
	err  error
}

// race dials addresses as in RFC 8305 ("Happy Eyeballs"): it starts the next dial as soon
// as one has failed, or attemptDelay after the last start. It returns the first connection
// and cancels the other dials. If all fail, it returns all errors. It waits for every dial
// to return.
func race(ctx context.Context, addrs []*net.UDPAddr, dial func(context.Context, *net.UDPAddr) (*quicgo.Conn, error)) (*quicgo.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan attempt)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var won *quicgo.Conn
	var errs attemptErrors
	for left, running := addrs, 0; len(left) > 0 || running > 0; {
		select {
		case <-timer.C:
			if len(left) == 0 {
				continue
			}
			addr := left[0]
			left, running = left[1:], running+1
			go func() {
				conn, err := dial(ctx, addr)
				ended <- attempt{conn, err}
			}()
			timer.Reset(attemptDelay)
		case a := <-ended:
			running--
			switch {
			case a.err != nil:
				errs = append(errs, a.err)
				timer.Reset(0)
			case won == nil:
				won = a.conn
				cancel()
			default: // it succeeded before it was cancelled
				a.conn.CloseWithError(0, "")
			}
			if ctx.Err() != nil {
				left = nil
			}
		}
	}
	switch {
	case won != nil:
		return won, nil
	case len(errs) == 1:
		return nil, errs[0]
	}
	return nil, errs
}

// attemptErrors are the errors of all addresses. The text is one line.
type attemptErrors []error

func (e attemptErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e attemptErrors) Unwrap() []error { return e }

// Timeout reports whether any of the errors is a timeout.
func (e attemptErrors) Timeout() bool {
	for _, err := range e {
		if t, ok := err.(net.Error); ok && t.Timeout() {
			return true
		}
	}
	return false
}

// interleave alternates the address families, beginning with that of the first address
// (RFC 8305, section 4).
func interleave(addrs []*net.UDPAddr) []*net.UDPAddr {
	var families [2][]*net.UDPAddr // that of the first address, and the other
	isFirst := func(a *net.UDPAddr) bool { return (a.IP.To4() == nil) == (addrs[0].IP.To4() == nil) }
	for _, a := range addrs {
		if isFirst(a) {
			families[0] = append(families[0], a)
		} else {
			families[1] = append(families[1], a)
		}
	}
	list := make([]*net.UDPAddr, 0, len(addrs))
	for i := range addrs {
		for _, f := range families {
			if i < len(f) {
				list = append(list, f[i])
			}
		}
	}
	return list
}
