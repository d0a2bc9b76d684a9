package liveness

import "net"

// NewListener puts every connection that inner accepts under cfg's policy, from
// its accept on. The connections are of type [*Conn]. Without a policy, Accept
// fails with [ErrNoPolicy]. Closing the listener leaves its connections alone.
func NewListener(inner net.Listener, cfg *Config) net.Listener {
	l := &listener{Listener: inner, cfg: cfg}
	if cfg != nil {
		cfg.emit(Event{What: Listening, Addr: inner.Addr()})
	}
	return l
}

type listener struct {
	net.Listener
	cfg *Config
}

func (l *listener) Accept() (net.Conn, error) {
	if l.cfg == nil || l.cfg.Policy == nil {
		return nil, ErrNoPolicy
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return NewConn(conn, l.cfg), nil
}
