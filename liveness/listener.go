package liveness

import "net"

// NewListener puts every connection that inner accepts under cfg's policy, from
// its accept on. The connections are of type [*Conn]. Without a policy, Accept
// fails with [ErrNoPolicy]. Closing the listener leaves its connections alone.
//
// With TLS the policy belongs beneath it: give this listener to ServeTLS of
// net/http, or to [crypto/tls.NewListener]. The handshake is then part of the
// opening phase, and what looks for a *tls.Conn finds one.
func NewListener(inner net.Listener, cfg *Config) net.Listener {
	l := &listener{Listener: inner, cfg: cfg}
	if cfg != nil && cfg.Policy != nil {
		l.policy = cfg.policy(cfg.Policy)
		cfg.emit(Event{What: Listening, Addr: inner.Addr(), Policy: describe(cfg.Policy)})
	}
	return l
}

type listener struct {
	net.Listener
	cfg    *Config
	policy *connPolicy
}

func (l *listener) Accept() (net.Conn, error) {
	if l.policy == nil {
		return nil, ErrNoPolicy
	}
	if err := l.cfg.checkAcks(l.cfg.Policy); err != nil {
		return nil, err
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(conn, l.cfg, l.policy), nil
}
