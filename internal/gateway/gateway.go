package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/liveness"
)

// Config is what a Gateway is told. It must not be changed once it is in use.
type Config struct {
	// Forward are the upstreams; there must be one at least.
	Forward []Address

	// Health is how often upstreams that rest are dialled; 0: their next client does it.
	Health time.Duration

	// ProxyProtocol is the version of the PROXY header that an upstream is sent first;
	// 0: none.
	ProxyProtocol byte

	// Policy judges the upstreams' connections by Evidence; nil: nobody judges them but
	// the kernel's keepalive.
	Policy   liveness.Policy
	Evidence codec.Evidence

	// Changed, if set, is told that an upstream can't be dialled, for a new cause, in a
	// word or two, or that it can again, if there is no cause.
	Changed func(a Address, cause string)
}

// A Gateway forwards connections. Run must run while it does.
type Gateway struct {
	conf Config

	mu        sync.Mutex
	upstreams upstreams
}

// New returns a Gateway for conf.
func New(conf Config) *Gateway {
	g := &Gateway{conf: conf}
	for _, a := range conf.Forward {
		g.upstreams.list = append(g.upstreams.list, &upstream{Address: a})
	}
	return g
}

// Handle is a [liveness.Handler] that forwards c to an upstream. If none can be dialled,
// or it fails, c ends with [liveness.UpstreamFailed] and the cause. It dials when a
// handshake of TLS, and a proxy's header, have come.
func (g *Gateway) Handle(ctx context.Context, c *liveness.Conn) { g.Forward(ctx, c, nil) }

// Forward is Handle for a connection from which first was read already.
func (g *Gateway) Forward(ctx context.Context, c *liveness.Conn, first []byte) {
	if err := greet(c.NetConn()); err != nil {
		c.Read(make([]byte, 1)) // which tells the same error, and ends c
		return
	}
	u, up, err := g.dial(ctx)
	if err != nil {
		fail(c, err)
		return
	}
	defer g.done(u)
	if v := g.conf.ProxyProtocol; v > 0 {
		up.Write(proxyHeader(v, c.RemoteAddr(), c.LocalAddr())) // an error is relay's to meet
	}
	if len(first) > 0 {
		up.Write(first) // likewise
	}
	Relay(ctx, c, up)
}

// greet waits for what comes on conn before the client's data.
func greet(conn net.Conn) error {
	for conn != nil {
		switch c := conn.(type) {
		case interface{ HandshakeContext(context.Context) error }:
			return c.HandshakeContext(context.Background()) // the end of conn ends it
		case interface{ ReadPreamble() error }:
			return c.ReadPreamble()
		}
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = outer.NetConn()
	}
	return nil
}

// dial dials upstreams, one after the other, until one answers.
func (g *Gateway) dial(ctx context.Context) (*upstream, *liveness.Conn, error) {
	tried := make(map[*upstream]bool)
	var last error
	for {
		g.mu.Lock()
		u := g.upstreams.pick(time.Now(), tried)
		g.mu.Unlock()
		if u == nil {
			return nil, nil, last
		}
		tried[u] = true
		up, err := g.connect(ctx, u)
		if err == nil {
			return u, up, nil
		}
		g.done(u)
		if last = err; ctx.Err() != nil {
			return nil, nil, last
		}
	}
}

// connect dials u, and takes note of how that went.
func (g *Gateway) connect(ctx context.Context, u *upstream) (*liveness.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	client := liveness.Client{Codec: codec.Raw, Policy: g.conf.Policy, Evidence: g.conf.Evidence}
	up, err := client.Dial(ctx, dialer{u.Address, g.conf.Policy == nil}, "")
	g.mu.Lock()
	u.dialing--
	g.mu.Unlock()
	g.note(ctx, u, err)
	return up, err
}

// done takes note that a connection to u, or a dial, is over.
func (g *Gateway) done(u *upstream) {
	g.mu.Lock()
	u.active--
	g.mu.Unlock()
}

// note takes note of how a dial of u within ctx went.
func (g *Gateway) note(ctx context.Context, u *upstream, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return // nobody has waited for it
	}
	g.mu.Lock()
	var news bool
	why := ""
	if err == nil {
		news = u.reached()
	} else {
		why = cause(err)
		news = u.failed(time.Now(), why, rand.Float64())
	}
	g.mu.Unlock()
	if news && g.conf.Changed != nil {
		g.conf.Changed(u.Address, why)
	}
}

// Run dials each upstream once, to tell of those that can't be reached, and then those
// that rest every Health. It returns when ctx has ended.
func (g *Gateway) Run(ctx context.Context) {
	g.check(ctx, g.upstreams.list)
	if g.conf.Health <= 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(g.conf.Health)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		g.mu.Lock()
		list := g.upstreams.resting(time.Now())
		g.mu.Unlock()
		g.check(ctx, list)
	}
}

// check dials upstreams at once, and hangs up.
func (g *Gateway) check(ctx context.Context, list []*upstream) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var all sync.WaitGroup
	for _, u := range list {
		all.Go(func() {
			conn, err := dialer{address: u.Address}.dial(ctx)
			if err == nil {
				conn.Close()
			}
			g.note(ctx, u, err)
		})
	}
	all.Wait()
}
