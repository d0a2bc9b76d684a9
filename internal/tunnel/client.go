package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A Client is the client's end of a tunnel. Each connection that it accepts becomes a stream
// of its session with the server, or a session of its own if sessions have one stream only.
// Its exported fields must not be changed once it is in use.
type Client struct {
	Transport   transport.Transport
	Multiplexed bool // sessions have several streams
	Addr        string

	// Dialer dials the sessions. Its codec must be [codec.Frame] if they have several
	// streams, and [codec.Raw] otherwise.
	Dialer *liveness.Client

	// Wait is how long a connection waits for a session.
	Wait time.Duration

	// A receive from Retry, if not nil, ends the wait before the next attempt to dial.
	Retry <-chan struct{}

	// Publish has the services, by name, that the server reaches through the tunnel. ID
	// identifies the publisher: the session replaces an older one of the same ID.
	Publish map[string]*gateway.Gateway
	ID      string

	// Token is sent to the server, unless it is empty.
	Token Token

	// Connected, if set, is called when the server has accepted a session. Failed, if set,
	// is called for each connection that could not be forwarded, or whose stream the server
	// refused.
	Connected func(*liveness.Session)
	Failed    func(service string, remote net.Addr, err error)

	published sync.WaitGroup // connections that the server has opened

	mu      sync.Mutex
	link    *link         // nil: there is no session
	changed chan struct{} // closed when there is a new link; nil: no call waits for one
}

// A link is a session that the server has accepted.
type link struct {
	session *liveness.Session
	active  int           // connections
	drains  chan struct{} // set while the server drains; closed when active is 0
}

// Run keeps a session with the server until ctx ends, and then returns nil. It returns the
// [*liveness.Error] of a session after which [liveness.Client.Reconnect] doesn't dial again.
func (c *Client) Run(ctx context.Context) error {
	if !c.Multiplexed {
		<-ctx.Done()
		return nil
	}
	defer c.published.Wait()
	err := c.Dialer.Reconnect(ctx, c.Transport, c.Addr, c.Retry, c.use)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// use serves one session until it ends.
func (c *Client) use(ctx context.Context, control *liveness.Conn) error {
	if err := c.register(ctx, control); err != nil {
		return err
	}
	l := &link{session: control.Session()}
	c.setLink(l)
	defer c.removeLink(l)
	if c.Connected != nil {
		c.Connected(l.session)
	}
	if len(c.Publish) > 0 {
		c.published.Go(func() { c.accept(ctx, l) })
	}
	read := make(chan struct{})
	go func() { // reading answers pings, and detects the end
		defer close(read)
		io.Copy(io.Discard, control)
	}()
	select {
	case <-control.Draining():
		select {
		case <-c.drain(l):
		case <-control.Done():
		}
		control.CloseWith(liveness.Draining, "") // so that Reconnect dials again
	case <-read:
		control.CloseWith(liveness.ProtocolError, "the server ended the control stream's data")
	}
	<-read
	return nil
}

// register sends the registration, and waits until the server accepts it. If the session has
// ended it returns nil: the caller's next read returns the reason.
func (c *Client) register(ctx context.Context, control *liveness.Conn) error {
	b, err := json.Marshal(registration{ID: c.ID, Publish: slices.Sorted(maps.Keys(c.Publish)), Name: c.Token.Name, Token: c.Token.Secret})
	if err != nil {
		return err
	}
	if _, err := control.Write(appendHeader(nil, b)); err != nil {
		control.Close()
		return nil
	}
	body, _, plain, err := readHeader(control, registerTimeout, 0)
	switch {
	case control.End() != nil:
		return nil
	case plain, err != nil, len(body) > 0: // from an echo server, for instance
		control.CloseWith(liveness.ProtocolError, "the server has no tunnels")
	}
	return nil
}

// registerTimeout limits the wait for the server's answer to the registration, and for the
// header of a stream that the server opens.
const registerTimeout = 10 * time.Second

// accept serves the streams that the server opens, until the session ends, and ctx with it.
func (c *Client) accept(ctx context.Context, l *link) {
	for {
		stream, err := l.session.AcceptStream(ctx)
		if err != nil {
			return
		}
		c.mu.Lock()
		l.active++
		c.mu.Unlock()
		c.published.Go(func() {
			defer c.release(l)
			defer stream.Close()
			name, _, plain, err := readHeader(stream, registerTimeout, 0)
			switch g := c.Publish[string(name)]; {
			case err != nil:
				refuse(stream, err)
			case plain, g == nil:
				stream.CloseWith(liveness.NoTunnel, "")
			default:
				g.Handle(ctx, stream)
			}
		})
	}
}

func (c *Client) setLink(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

func (c *Client) removeLink(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		c.link = nil
	}
}

// drain opens no more streams in l. It returns a channel that is closed when no connection
// of l is left.
func (c *Client) drain(l *link) <-chan struct{} {
	c.removeLink(l)
	c.mu.Lock()
	defer c.mu.Unlock()
	drained := make(chan struct{})
	if l.active == 0 {
		close(drained)
	} else {
		l.drains = drained
	}
	return drained
}

// acquire waits for a session, and counts one more connection in it. The caller releases it.
func (c *Client) acquire(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		if l := c.link; l != nil && l.session.End() == nil {
			l.active++
			c.mu.Unlock()
			return l, nil
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ErrNoSession
		}
	}
}

// ErrNoSession is the error of a connection that waited for a session in vain.
var ErrNoSession = errors.New("there is no session with the server")

func (c *Client) release(l *link) {
	if l == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.active--
	if l.active == 0 && l.drains != nil {
		close(l.drains)
		l.drains = nil
	}
}

// open opens a stream to a service. The caller releases the link when the stream has ended.
func (c *Client) open(ctx context.Context, service string) (*liveness.Conn, *link, error) {
	if !c.Multiplexed {
		stream, err := c.dial(ctx)
		if err == nil && service != "" {
			stream.Write(appendHeader(nil, []byte(service))) // Relay meets the error
		}
		return stream, nil, err
	}
	for {
		l, err := c.acquire(ctx)
		if err != nil {
			return nil, nil, err
		}
		stream, err := l.session.OpenStream(ctx)
		if err == nil {
			stream.Write(appendHeader(nil, []byte(service))) // likewise; the server learns of the stream by its first bytes
			return stream, l, nil
		}
		c.release(l)
		select {
		case <-l.session.Done():
		case <-ctx.Done():
			return nil, nil, err
		}
	}
}

// dial dials a session for one connection, and retries until ctx ends.
func (c *Client) dial(ctx context.Context) (*liveness.Conn, error) {
	const first, most = 50 * time.Millisecond, time.Second
	for pause := first; ; pause = min(2*pause, most) {
		stream, err := c.Dialer.Dial(ctx, c.Transport, c.Addr)
		if err == nil {
			return stream, nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// Serve forwards the connections that l accepts to a service. It closes l and returns when ctx
// ends.
func (c *Client) Serve(ctx context.Context, l net.Listener, service string) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	const first, most = 5 * time.Millisecond, time.Second
	pause := first
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = first
			all.Go(func() { c.forward(ctx, conn, service) })
			continue
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return
		}
		c.failed(service, l.Addr(), err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, most)
	}
}

// forward forwards one connection.
func (c *Client) forward(ctx context.Context, conn net.Conn, service string) {
	remote := conn.RemoteAddr()
	local, err := (&liveness.Client{Codec: codec.Raw}).Dial(ctx, accepted{conn}, "")
	if err != nil {
		conn.Close()
		return
	}
	within, cancel := context.WithTimeout(ctx, c.Wait)
	stream, l, err := c.open(within, service)
	cancel()
	if err != nil {
		local.CloseWith(liveness.UpstreamFailed, "")
		if ctx.Err() == nil {
			c.failed(service, remote, err)
		}
		return
	}
	defer c.release(l)
	gateway.Relay(ctx, local, stream)
	local.Close()
	if end := stream.End(); refused(end) || l == nil && end.Reason != liveness.Done && end.Reason != liveness.PeerClosed {
		c.failed(service, remote, end)
	}
}

// refused reports whether the server refused the stream or failed to reach its service, in
// contrast to the end of the session or of the data.
func refused(end *liveness.Error) bool {
	switch end.Reason {
	case liveness.NoTunnel, liveness.Unauthorized, liveness.UpstreamFailed, liveness.NoHello, liveness.ProtocolError, liveness.TooLarge, liveness.Overload:
		return end.Claimed()
	}
	return false
}

func (c *Client) failed(service string, remote net.Addr, err error) {
	if c.Failed != nil {
		c.Failed(service, remote, err)
	}
}

// An accepted is a transport whose Dial returns a connection that was accepted.
type accepted struct{ net.Conn }

func (accepted) Listen(context.Context, string) (transport.Listener, error) {
	panic("tunnel: it was accepted")
}

func (a accepted) Dial(context.Context, string) (transport.Session, error) {
	return transport.Single(a.Conn), nil
}
