package liveness

import (
	"cmp"
	"context"
	"iter"
	"net"
)

// A Listener puts every connection that it accepts under a policy.
type Listener struct {
	net.Listener
	srv *Server // for its list of sessions; it does not serve
	err error   // returned by Accept if the Config is invalid
}

// NewListener puts every connection that inner accepts under cfg's policy, from
// its accept on. The connections are of type [*Conn]. Accept fails with
// [ErrNoPolicy] if cfg has no policy, and with another error if the policy doesn't
// fit cfg's Evidence or MinPace. Closing the listener leaves its connections alone.
//
// With TLS, give this listener to ServeTLS of net/http or to
// [crypto/tls.NewListener], not the other way round. The handshake is then part of
// the opening phase, and net/http still gets a *tls.Conn, which HTTP/2 needs.
func NewListener(inner net.Listener, cfg *Config) *Listener {
	l := &Listener{Listener: inner, srv: new(Server), err: ErrNoPolicy}
	if cfg == nil || cfg.Policy == nil {
		return l
	}
	l.srv.Config = *cfg
	l.srv.begin()
	l.err = cmp.Or(cfg.checkAcks(cfg.Policy), cfg.checkPace(cfg.Policy))
	cfg.emit(Event{What: Listening, Addr: inner.Addr(), Policy: describe(cfg.Policy)})
	return l
}

// ConnOf returns the Conn that conn is or wraps: it calls the method NetConn of conn and of
// what that returns, as *tls.Conn has it. It returns nil if there is none. net/http passes
// such a conn to ConnContext.
func ConnOf(conn net.Conn) *Conn {
	for {
		if c, ok := conn.(*Conn); ok {
			return c
		}
		wrapper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = wrapper.NetConn()
	}
}

// Accept waits for the next connection, and returns it as a [*Conn].
func (l *Listener) Accept() (net.Conn, error) {
	if l.err != nil {
		return nil, l.err
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := newConn(conn, &l.srv.Config, l.srv.sessionPolicy.Load(), l.srv)
	if l.srv.isDraining() { // Shutdown may have found none, and waits no more
		c.state.end(ending{Error: Error{Reason: Draining}})
		return nil, net.ErrClosed
	}
	return c, nil
}

// Sessions returns the connections that are open now, in no particular order.
func (l *Listener) Sessions() iter.Seq[*Session] { return l.srv.Sessions() }

// Session returns the connection with that ID; nil if there is none, or it has ended.
func (l *Listener) Session(id uint64) *Session { return l.srv.Session(id) }

// Counts returns the counts of connections since the listener began.
func (l *Listener) Counts() Counts { return l.srv.Counts(KindSession) }

// SetPolicy changes the policy of the open connections and of those to come, like
// [Server.SetPolicy].
func (l *Listener) SetPolicy(p Policy) error { return l.srv.SetPolicy(p) }

// Shutdown stops accepting, closes [Conn.Draining] of the connections, and waits for them
// to end. If ctx ends first, it ends the others for [Draining], waits at most a second for
// the functions that [Conn.BeforeClose] set, and returns ctx's error.
func (l *Listener) Shutdown(ctx context.Context) error {
	l.Close()
	return l.srv.drainConns(ctx)
}
