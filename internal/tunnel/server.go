package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/liveness"
)

// A Server connects the streams of a listener's sessions to services.
// Its fields must not be changed once it is in use.
type Server struct {
	// Forward has the services by name. Streams without a header, or with an empty name,
	// go to the one whose name is empty.
	Forward map[string]*gateway.Gateway

	// Services has the names that clients may publish.
	Services map[string]bool

	// Opening is how long a stream's header may take, and how long a connection to a
	// service waits for a tunnel that publishes it.
	Opening time.Duration

	// Tokens has the tokens of the clients that may connect; nil: they need none.
	Tokens *Tokens

	// Certificates: the name of a client is that of its certificate, which TLS has verified.
	Certificates bool

	// Changed, if set, is called when a client begins to publish a service, with an empty
	// reason, and when it has stopped, with the reason for which its session ended.
	Changed func(service, who, reason string)

	mu       sync.Mutex
	registry registry
	changed  chan struct{} // closed when there is a new tunnel; nil: no call waits for one
}

// plainAfter is how long to wait for the first bytes of a stream before it is taken for plain:
// its service may speak first.
const plainAfter = time.Second

// Handle is the [liveness.Handler] of the listener. If sessions have several streams, its
// codec must be [codec.Auto], since the control stream uses frames.
func (s *Server) Handle(ctx context.Context, c *liveness.Conn) {
	wait := plainAfter
	known := s.tunnel(c) != nil
	if known || s.Forward[""] == nil || s.Tokens != nil {
		wait = 0
	}
	body, first, plain, err := readHeader(c, s.Opening, wait)
	switch {
	case s.Tokens != nil && !known && (err != nil || plain || c.PeerHello() == nil):
		unauthorized(c, "a tunnel with a token is needed")
	case err != nil:
		refuse(c, err)
	case plain:
		s.connect(ctx, c, "", first)
	case c.PeerHello() != nil:
		s.control(c, body)
	default:
		s.connect(ctx, c, string(body), nil)
	}
}

// refuse ends a stream whose header is invalid or missing.
func refuse(c *liveness.Conn, err error) {
	broken, ok := errors.AsType[*codec.Error](err)
	switch {
	case ok && broken.TooLarge:
		c.CloseWith(liveness.TooLarge, broken.Text)
	case ok:
		c.CloseWith(liveness.ProtocolError, broken.Text)
	case errors.Is(err, errSilent):
		c.CloseWith(liveness.NoHello, "")
	}
}

// unauthorized ends c's session, so that an unauthorized client holds no resources.
func unauthorized(c *liveness.Conn, text string) {
	c.Session().CloseWith(liveness.Unauthorized, text)
}

// authorize returns the authenticated name of a client, which is empty if no authentication
// is required. It reports false if the client is not authorized.
func (s *Server) authorize(c *liveness.Conn, r *registration) (name string, ok bool) {
	if s.Tokens != nil {
		return r.Name, s.Tokens.has(Token{r.Name, r.Token})
	}
	if s.Certificates {
		return certificateName(c.Session())
	}
	return "", true
}

// certificateName returns the common name of the peer's certificate, or its first DNS name.
func certificateName(session *liveness.Session) (name string, ok bool) {
	state := session.TLS()
	if state == nil || len(state.PeerCertificates) == 0 {
		return "", false
	}
	cert := state.PeerCertificates[0]
	if name = cert.Subject.CommonName; name == "" && len(cert.DNSNames) > 0 {
		name = cert.DNSNames[0]
	}
	return name, name != ""
}

// connect connects c to the service of that name. first was read from c already.
func (s *Server) connect(ctx context.Context, c *liveness.Conn, name string, first []byte) {
	g := s.Forward[name]
	switch {
	case g != nil:
		g.Forward(ctx, c, first)
	case s.Services[name]:
		s.Reach(ctx, c, name)
	default:
		c.CloseWith(liveness.NoTunnel, "")
	}
}

// Reach connects c to the tunnel that publishes a service. If there is none within Opening, c
// ends with [liveness.NoTunnel].
func (s *Server) Reach(ctx context.Context, c *liveness.Conn, service string) {
	within, cancel := context.WithTimeout(ctx, s.Opening)
	defer cancel()
	for {
		t := s.publisher(within, service)
		if t == nil {
			c.CloseWith(liveness.NoTunnel, "")
			return
		}
		stream, err := t.session.OpenStream(within)
		if err == nil {
			stream.Write(appendHeader(nil, []byte(service))) // Relay meets the error
			gateway.Relay(ctx, c, stream)
			return
		}
		select {
		case <-t.session.Done():
		case <-within.Done():
		}
	}
}

// publisher waits for a tunnel that publishes a service. It returns nil when ctx ends.
func (s *Server) publisher(ctx context.Context, service string) *tunnel {
	for {
		s.mu.Lock()
		if t := s.registry.publishers[service]; t != nil && t.session.End() == nil {
			s.mu.Unlock()
			return t
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// tunnel returns the tunnel of c's session, or nil.
func (s *Server) tunnel(c *liveness.Conn) *tunnel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.registry.sessions[c.Session().ID()]
}

// control serves a control stream until the tunnel ends.
func (s *Server) control(c *liveness.Conn, body []byte) {
	var r registration
	if err := json.Unmarshal(body, &r); err != nil {
		c.CloseWith(liveness.ProtocolError, "the registration is invalid")
		return
	}
	name, ok := s.authorize(c, &r)
	if !ok {
		unauthorized(c, "unknown name or token")
		return
	}
	if err := r.check(s.Services); err != nil {
		c.CloseWith(err.Reason, err.Text)
		return
	}
	t := &tunnel{session: c.Session(), owner: owner{name, r.ID}, publish: r.Publish}
	old, err := s.add(t)
	if err != nil {
		c.CloseWith(err.Reason, err.Text)
		return
	}
	defer s.remove(t, c)
	if old != nil {
		old.session.CloseWith(liveness.Superseded, "a newer session has its id")
	}
	if _, err := c.Write(appendHeader(nil, nil)); err == nil {
		io.Copy(io.Discard, c)
	}
}

func (s *Server) add(t *tunnel) (old *tunnel, err *liveness.Error) {
	s.mu.Lock()
	old, err = s.registry.add(t)
	if s.changed != nil && err == nil {
		close(s.changed)
		s.changed = nil
	}
	s.mu.Unlock()
	if err == nil {
		s.notify(t, "")
	}
	return old, err
}

// remove removes a tunnel that has ended. A successor may have replaced it long before.
func (s *Server) remove(t *tunnel, control *liveness.Conn) {
	s.mu.Lock()
	removed := s.registry.remove(t)
	s.mu.Unlock()
	if !removed {
		return
	}
	reason := liveness.PeerClosed // its data has ended
	if e := control.End(); e != nil {
		reason = e.Reason
	}
	s.notify(t, reason.String())
}

func (s *Server) notify(t *tunnel, reason string) {
	if s.Changed == nil {
		return
	}
	who := t.owner.id
	if t.owner.name != "" {
		who = t.owner.name + ", " + who
	}
	for _, name := range t.publish {
		s.Changed(name, who, reason)
	}
}
