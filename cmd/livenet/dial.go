package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/eventlog"
	"github.com/livenet/livenet/internal/settings"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

func dialCommand(p *process) *cli.Command {
	var o dialOptions
	return &cli.Command{
		Name:      "dial",
		Usage:     "connect stdin and stdout to a server, with heartbeats underneath",
		ArgsUsage: "ADDR",
		Description: `What comes on stdin goes to the server, and what it sends to stdout. At the end
of stdin dial ends its half and reads on until the server ends, too; a server that
ends its half first still gets all of stdin. An address without a port means port
7373.

It beats as often as the server asks for, and judges the server in turn. If the
end is any other than that both had finished, a line on stderr says why, and who
decided it.

On this machine dial trusts the development certificate of serve. Elsewhere give
its pin, which serve shows.`,
		CustomHelpTemplate: `
{{bold "Exit status"}}
    0   both ends had finished, or a signal ended this one
    1   no connection, or stdin or stdout failed
    2   the command line or a variable makes no sense
    3   a deadline passed: fixed-deadline, silent, max-age or no-hello
    4   the server ended it: draining, kicked, overload, superseded or
        upstream-failed
    5   the connection was lost: peer-reset, transport-lost, or peer-closed
        before stdin had ended or, in frames, before the data was whole
    6   an end broke the rules: protocol-error, too-large, too-slow,
        too-many-beats or internal
  130   interrupted while connecting, or twice

{{bold "Examples"}}
  livenet dial 127.0.0.1:7373
  livenet dial --transport quic --pin sha256:9f86… example.net
  printf 'GET / HTTP/1.0\r\n\r\n' | livenet dial --codec raw --keep-open :80

Every flag has a variable: --transport is LIVENET_DIAL_TRANSPORT.
`,
		Flags: dialFlags(&o),
		Action: func(c *cli.Context) error {
			if err := o.check(c); err != nil {
				return err
			}
			return dial(c.Context, p, o)
		},
	}
}

// Exit statuses of dial, by what ended the connection.
const (
	statusDeadline = 3 + iota
	statusSentAway
	statusLost
	statusRules
)

// dialOptions are what dial can be told.
type dialOptions struct {
	address        string
	transport      string
	codec          string
	beat           time.Duration // 0: as the server asks
	noBeat         bool
	timeout        time.Duration // 0: as patient as the server
	connectTimeout time.Duration
	keepOpen       bool
	trust          trust
	verbose        bool
}

func dialFlags(o *dialOptions) []cli.Flag {
	const connection, alive, security = "Connection", "Liveness", "TLS"
	verbose := settings.Switch(connection, "verbose", "say when it is connected, and always how it ended", &o.verbose)
	verbose.Aliases = []string{"v"}
	return []cli.Flag{
		settings.OneOf(connection, "transport", settings.Enumerate(stack.Names, "or"), &o.transport, "tcp", stack.Names...),
		settings.OneOf(connection, "codec", "frame, line, or raw for a server that knows nothing of livenet", &o.codec, "frame", "frame", "line", "raw"),
		settings.Duration(connection, "connect-timeout", "how long connecting may take", &o.connectTimeout, 10*time.Second),
		settings.Switch(connection, "keep-open", "keep our half open at the end of stdin, until the server ends, for servers that take a half-close for an abort", &o.keepOpen),
		verbose,

		settings.Duration(alive, "beat", "beat at least this often (default: as the server asks, and every 15s)", &o.beat, 0),
		settings.Switch(alive, "no-beat", "never beat", &o.noBeat),
		settings.Duration(alive, "timeout", "give up a server that has been silent for this long (default: three beats, and at least the timeout that it states for us)", &o.timeout, 0),

		settings.Switch(security, "tls", settings.TLSUsage(), &o.trust.tls),
		settings.File(security, "ca", "trust servers certified by these authorities, PEM", &o.trust.ca),
		&cli.StringFlag{
			Name: "pin", Category: security, Usage: "`PIN` trust the server that has this key: sha256:HEX",
			Action: func(c *cli.Context, text string) error {
				pin, err := devtls.ParsePin(text)
				if err != nil {
					return settings.Usage("%s %w", settings.Spell(c, "pin"), err)
				}
				o.trust.pin = &pin
				return nil
			},
		},
		settings.Switch(security, "insecure", "trust whoever answers", &o.trust.insecure),
		settings.File(security, "tls-cert", "certificate to show to the server, PEM", &o.trust.cert),
		settings.File(security, "tls-key", "its private key, PEM", &o.trust.key),
	}
}

// check reads the address, and finds what contradicts itself.
func (o *dialOptions) check(c *cli.Context) (err error) {
	args := c.Args()
	switch {
	case args.Len() == 0:
		return settings.Usage("want an address: livenet dial [FLAGS] ADDR, such as %s:%s", settings.DefaultHost, settings.DefaultPort)
	case args.Len() > 1:
		return settings.Usage("unexpected argument %q: want one address", args.Get(1))
	case o.beat > 0 && o.noBeat:
		return settings.Usage("%s and %s contradict each other", settings.Spell(c, "beat"), settings.Spell(c, "no-beat"))
	case o.beat > 0 && o.codec == "raw":
		return settings.Usage("%s makes no sense with the raw codec: it has no beats", settings.Spell(c, "beat"))
	}
	if o.address, err = settings.Address(args.First()); err != nil {
		return settings.Usage("address %w", err)
	}
	return o.trust.check(c, o.transport)
}

// idleBeat is how often dial beats where a server asks for less, or for nothing
// as one with a fixed deadline does: so that dial itself notices in time when
// the server is gone.
const idleBeat = 15 * time.Second

// interval is the longest between beats; 0: none are sent. A plain server of
// lines would take a beat for a line, so it gets none that nobody asked for.
func (o *dialOptions) interval() time.Duration {
	if o.beat == 0 && !o.noBeat && o.codec == "frame" {
		return idleBeat
	}
	return o.beat
}

// ackTimeout is for how long a server may acknowledge nothing that is neither asked
// to beat nor given a timeout: it may have nothing to say.
const ackTimeout = 30 * time.Second

// judges reports whether the server's bytes show that it lives; of lines, as long as
// there are any to be sent.
func (o *dialOptions) judges() bool { return o.timeout > 0 || o.interval() > 0 }

// mostIdle is about the longest that Linux waits before its keepalive.
const mostIdle = 9 * time.Hour

// limits leave the judging to the policy, which is known only when the server
// has said how patient it is.
func (o *dialOptions) limits() stack.Limits {
	// Connecting is bounded by its context. QUIC gives up a server that says
	// nothing after half of the handshake's time.
	l := stack.Limits{Handshake: 2 * o.connectTimeout}
	if patience := 3 * o.beat; o.codec == "line" && o.beat > 0 && o.timeout == 0 {
		// After the last line there is no place for a beat, and nobody is judged.
		l.KeepAlive, l.KeepAliveIdle, l.Silence = true, min(patience, mostIdle), stack.Backstop(patience)
		return l
	}
	if l.Silence = stack.Backstop(settings.MaxDuration); !o.judges() {
		l.Silence, l.Ask = stack.Backstop(ackTimeout), ackTimeout/3
	}
	return l
}

func (o *dialOptions) client() *liveness.Client {
	framing, _ := codec.ByName(o.codec) // one of those that there are
	c := &liveness.Client{Codec: framing, Beat: o.interval(), NoBeat: o.noBeat, Transport: o.transport}
	const ask = 3 // of a timeout's thirds, the first is for waiting
	switch {
	case o.timeout > 0 && o.interval() > 0:
		c.Policy = liveness.Sliding(o.timeout, liveness.ProbeAfter(o.timeout/ask))
	case o.timeout > 0: // a question would be a beat
		c.Policy = liveness.Sliding(o.timeout)
	case !o.judges():
		c.Policy, c.Evidence = liveness.Sliding(ackTimeout), codec.Acks
	}
	return c
}

// dial connects, and carries bytes until one end ends.
func dial(ctx context.Context, p *process, o dialOptions) error {
	conn, err := connect(ctx, p, o)
	if err != nil {
		return err
	}
	defer conn.Close()
	if o.verbose {
		fmt.Fprintf(p.stderr, "livenet dial: connected to %s %s%s\n", o.transport, conn.RemoteAddr(), terms(conn))
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	d := &dialled{conn: conn, framed: o.codec == "frame", sent: make(chan struct{})}
	// Nothing interrupts a read of stdin or a write to stdout, so these goroutines can't
	// be waited for. They end with it, or with the process.
	go d.send(p.stdin, o.keepOpen)
	received := make(chan error, 1)
	go func() { received <- d.receive(p.stdout) }()
	go d.heedDrain()
	select {
	case err = <-received:
	case <-ctx.Done():
		select {
		case err = <-received:
		case <-time.After(p.waitAtMost()):
			return errUnread
		}
	}
	return d.end(p, err, o.verbose)
}

func connect(ctx context.Context, p *process, o dialOptions) (*liveness.Conn, error) {
	conf, err := o.trust.config(p, o.address)
	if err != nil {
		return nil, err
	}
	t, err := stack.New(o.transport, conf, o.limits())
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, o.connectTimeout)
	defer cancel()
	reaching := &reaching{Transport: t}
	conn, err := o.client().Dial(within, reaching, o.address)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, quietly(statusHurried)
	}
	why := whyNotReached(o, err)
	if reaching.reached {
		why = whyNotGreeted(err)
	}
	return nil, fmt.Errorf("can't connect to %s %s: %s", o.transport, o.address, why)
}

// reaching is a transport that remembers whether it has reached the server.
type reaching struct {
	transport.Transport
	reached bool
}

func (r *reaching) Dial(ctx context.Context, addr string) (transport.Session, error) {
	s, err := r.Transport.Dial(ctx, addr)
	r.reached = err == nil
	return s, err
}

// terms are what the server has stated of itself.
func terms(conn *liveness.Conn) string {
	hello := conn.PeerHello()
	switch {
	case hello == nil, hello.Timeout == 0:
		return ""
	}
	return fmt.Sprintf(": it allows %s of silence and wants a beat every %s", eventlog.Short(hello.Timeout), eventlog.Short(hello.Beat))
}

// dialled is a connection at work.
type dialled struct {
	conn     *liveness.Conn
	framed   bool          // the codec says where data ends
	sent     chan struct{} // closed when nothing more is sent
	finished atomic.Bool   // our half: stdin has ended
	draining atomic.Bool   // the server goes away, and our half ended for that
	unread   atomic.Pointer[error]
}

// send is stdin's way. An error of writing is left to receive: it will find
// why the connection has ended.
func (d *dialled) send(stdin io.Reader, keepOpen bool) {
	defer close(d.sent)
	buf := make([]byte, largeBuffer)
	for {
		n, err := stdin.Read(buf)
		if n > 0 {
			if _, err := d.conn.Write(buf[:n]); err != nil {
				return
			}
		}
		switch err {
		case nil:
			continue
		case io.EOF:
		default:
			d.unread.Store(&err)
		}
		d.finished.Store(true)
		if !keepOpen {
			d.conn.CloseWrite()
		}
		return
	}
}

// receive is the way to stdout, until the server has ended its data. It returns why
// stdout can't be written.
func (d *dialled) receive(stdout io.Writer) (unwritten error) {
	readAll(d.conn, func(b []byte) error {
		_, unwritten = stdout.Write(b)
		return unwritten
	})
	return unwritten
}

// end closes the connection, once our half is sent, and tells how it has ended.
func (d *dialled) end(p *process, unwritten error, verbose bool) error {
	if unwritten == nil {
		d.awaitSent(p.typing())
	}
	draining := d.draining.Load() && !d.finished.Load()
	d.conn.Close()
	switch unread := d.unread.Load(); {
	case unwritten != nil:
		return fmt.Errorf("can't write: %w", unwritten)
	case unread != nil:
		return fmt.Errorf("can't read: %w", *unread)
	}
	end := *d.conn.End()
	if draining && (end.Reason == liveness.Done || end.Reason == liveness.PeerClosed) {
		end.Reason, end.Initiator = liveness.Draining, liveness.Peer // it is why stdin was not sent to its end
	}
	return d.verdict(p, &end, verbose)
}

// awaitSent lets our half finish after the server's has: until stdin ends, nothing
// more can be written, or the server goes away. Whoever types sees that the server has
// finished, and need not end stdin himself.
func (d *dialled) awaitSent(typing bool) {
	if typing {
		return
	}
	select {
	case <-d.sent:
	case <-d.conn.Draining():
	case <-d.conn.Done():
	}
}

// heedDrain ends our half when the server is going away, so that it can finish what it
// has got. It ends with the connection.
func (d *dialled) heedDrain() {
	select {
	case <-d.conn.Draining():
		if d.conn.End() == nil {
			d.draining.Store(true)
			d.conn.CloseWrite()
		}
	case <-d.conn.Done():
	}
}

// verdict is the exit status for an end, and the line that says why.
func (d *dialled) verdict(p *process, end *liveness.Error, verbose bool) error {
	status := statusOf(end, d.finished.Load() && !d.framed)
	if status != 0 || verbose {
		p.lastWord(d.epitaph(end))
	}
	if status == 0 {
		return nil
	}
	return quietly(status)
}

// statusOf is the exit status for an end. A server without a way to say that its data
// is whole has simply closed: that is as it should be once we had finished.
func statusOf(end *liveness.Error, finished bool) int {
	switch end.Reason {
	case liveness.Done:
		return 0
	case liveness.PeerClosed:
		if finished && end.Text == "" { // or it did say why, if not in words that are known here
			return 0
		}
		return statusLost
	case liveness.PeerReset, liveness.TransportLost:
		return statusLost
	case liveness.FixedDeadline, liveness.Silent, liveness.Aged, liveness.NoHello:
		return statusDeadline
	case liveness.Draining, liveness.Kicked, liveness.Overload, liveness.Superseded, liveness.UpstreamFailed:
		return statusSentAway
	}
	return statusRules
}

// epitaph is the line about an end.
func (d *dialled) epitaph(end *liveness.Error) string {
	by, after := "", end.Age
	hello := d.conn.PeerHello()
	switch {
	case end.Initiator == liveness.Peer && end.Reason == liveness.Silent && hello != nil && hello.Timeout > 0:
		// The server has measured it; what we know is what it bears.
		by, after = " by server", hello.Timeout
	case end.Initiator == liveness.Peer:
		by = " by server"
	case end.Reason == liveness.Silent:
		after = end.Silence
	}
	if after >= time.Second {
		// Rounded, where the server's log cuts off: our clock began a little
		// after the server's, and nobody wants to read 9.9s for a deadline of 10s.
		after = after.Round(100 * time.Millisecond)
	}
	s := fmt.Sprintf("closed%s: %s after %s", by, end.Reason, eventlog.Short(after))
	switch {
	case refusal(end.Err) != "":
		s += ": " + refusal(end.Err)
	case end.Text != "":
		s += ": " + end.Text
	case end.Reason == liveness.TransportLost && end.Err != nil:
		s += ": " + end.Err.Error()
	}
	return s
}

// Buffers begin small and grow with what comes.
const (
	smallBuffer = 2 << 10
	largeBuffer = 32 << 10
)

// readAll hands what comes to take, until the peer has ended its data or take
// fails.
func readAll(c io.Reader, take func([]byte) error) {
	buf := make([]byte, smallBuffer)
	for {
		n, err := c.Read(buf)
		if n > 0 && take(buf[:n]) != nil || err != nil {
			return
		}
		if n == len(buf) && n < largeBuffer {
			buf = make([]byte, 2*n)
		}
	}
}
