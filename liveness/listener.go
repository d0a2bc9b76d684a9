package liveness

import "net"

// NewListener puts every connection that inner accepts under cfg's policy, from
// its accept on. The connections are of type [*Conn]. Without a policy, Accept
// fails with [ErrNoPolicy]. Closing the listener leaves its connections alone.
func NewListener(inner net.Listener, cfg *Config) net.Listener {
	l := &listener{Listener: inner, cfg: cfg}
	if cfg != nil {
		if cfg.Policy != nil {
			l.policy = cfg.policy(cfg.Policy)
		}
		cfg.emit(Event{What: Listening, Addr: inner.Addr()})
	}
	return l
}

type listener struct {
	net.Listener
	cfg    *Config
	policy Policy
}

func (l *listener) Accept() (net.Conn, error) {
	if l.policy == nil {
		return nil, ErrNoPolicy
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(conn, l.cfg, l.policy), nil
}
