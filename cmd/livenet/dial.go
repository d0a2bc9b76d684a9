package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/codec"
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
		Usage:     "connect stdin and stdout to a server, and send heartbeats",
		ArgsUsage: "ADDR",
		Description: `Dial sends stdin to the server and writes what the server sends to stdout. At the
end of stdin it closes its sending direction, and reads until the server closes, too.
If the server closes its direction first, dial still sends all of stdin. Without a
port, ADDR means port 7373.

Dial sends heartbeats as often as the server requests, and closes the connection if
the server is silent for too long. If the connection ends before both sides have
finished, a line on stderr says why, and which side closed it.

On the same machine dial trusts the development certificate of serve. Otherwise pass
its pin, which serve prints.`,
		CustomHelpTemplate: `
{{bold "Exit status"}}
    0   both sides had finished, or a signal ended dial
    1   no connection, or stdin or stdout failed
    2   the command line or a variable is invalid
    3   a deadline passed: fixed-deadline, silent, max-age or no-hello
    4   the server closed: draining, kicked, overload, superseded,
        upstream-failed, no-tunnel or unauthorized
    5   the connection was lost: peer-reset, transport-lost, or peer-closed
        before stdin had ended or, with the frame codec, within the data
    6   a violation of the protocol: protocol-error, too-large, too-slow,
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

// Exit statuses of dial, by the reason of the end.
const (
	statusDeadline = 3 + iota
	statusSentAway
	statusLost
	statusRules
)

// dialOptions are the flags of dial.
type dialOptions struct {
	address        string
	transport      string
	codec          string
	beat           time.Duration // 0: as the server requests
	noBeat         bool
	timeout        time.Duration // 0: derived from the server's Hello
	connectTimeout time.Duration
	keepOpen       bool
	trust          trust
	verbose        bool
}

func dialFlags(o *dialOptions) []cli.Flag {
	const connection, alive = "Connection", "Liveness"
	verbose := settings.Switch(connection, "verbose", "print when the connection is open, and always how it ended", &o.verbose)
	verbose.Aliases = []string{"v"}
	return append([]cli.Flag{
		settings.OneOf(connection, "transport", settings.Enumerate(stack.Names, "or"), &o.transport, "tcp", stack.Names...),
		settings.OneOf(connection, "codec", "frame, line, or raw for any other server", &o.codec, "frame", "frame", "line", "raw"),
		settings.Duration(connection, "connect-timeout", "how long connecting may take", &o.connectTimeout, 10*time.Second),
		settings.Switch(connection, "keep-open", "don't half-close at the end of stdin, for servers that abort on a half-close", &o.keepOpen),
		verbose,

		settings.Duration(alive, "beat", "send a heartbeat at least this often (default: as the server requests, and every 15s)", &o.beat, 0),
		settings.Switch(alive, "no-beat", "send no heartbeats", &o.noBeat),
		settings.Duration(alive, "timeout", "close if the server has been silent for this long (default: three beats, and at least the server's own timeout)", &o.timeout, 0),
	}, trustFlags(&o.trust)...)
}

// check parses the address, and refuses contradictory flags.
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

// idleBeat is the longest interval between beats, so that dial notices when the server is
// gone. A server may request no beats: one with a fixed deadline, for instance.
const idleBeat = 15 * time.Second

// interval returns the longest interval between beats; 0 means none. A plain line server
// would treat a beat as a line, so the line codec sends none by default.
func (o *dialOptions) interval() time.Duration {
	if o.beat == 0 && !o.noBeat && o.codec == "frame" {
		return idleBeat
	}
	return o.beat
}

// ackTimeout is how long a server's transport may acknowledge nothing, if there are neither
// beats nor a timeout. The server itself may be silent for as long as it likes.
const ackTimeout = 30 * time.Second

// judges reports whether the server's bytes are the evidence. If not, it is its
// transport's acknowledgements.
func (o *dialOptions) judges() bool { return o.timeout > 0 || o.interval() > 0 }

// maxKeepAliveIdle is about Linux's maximum of TCP_KEEPIDLE.
const maxKeepAliveIdle = 9 * time.Hour

// limits makes the lower layers' timeouts longer than that of any policy, which is known
// only after the server's Hello.
func (o *dialOptions) limits() stack.Limits {
	// The context bounds connecting. QUIC gives up after half of Handshake if the server
	// does not answer.
	l := stack.Limits{Handshake: 2 * o.connectTimeout}
	if timeout := 3 * o.beat; o.codec == "line" && o.beat > 0 && o.timeout == 0 {
		// After the last line no beat can be sent, so only the kernel's keepalive
		// notices a dead server.
		l.KeepAlive, l.KeepAliveIdle, l.IdleTimeout = true, min(timeout, maxKeepAliveIdle), stack.IdleTimeout(timeout)
		return l
	}
	if l.IdleTimeout = stack.IdleTimeout(settings.MaxDuration); !o.judges() {
		l.IdleTimeout, l.PingInterval = stack.IdleTimeout(ackTimeout), ackTimeout/3
	}
	return l
}

func (o *dialOptions) client() *liveness.Client {
	framing, _ := codec.ByName(o.codec) // the flag accepts only names of codecs
	c := &liveness.Client{Codec: framing, Beat: o.interval(), NoBeat: o.noBeat, Transport: o.transport}
	switch {
	case o.timeout > 0 && o.interval() > 0:
		c.Policy = liveness.Sliding(o.timeout, liveness.ProbeAfter(o.timeout/3))
	case o.timeout > 0: // a probe would be a beat
		c.Policy = liveness.Sliding(o.timeout)
	case !o.judges():
		c.Policy, c.Evidence = liveness.Sliding(ackTimeout), codec.Acks
	}
	return c
}

// dial connects, and copies bytes until the connection ends.
func dial(ctx context.Context, p *process, o dialOptions) error {
	conn, err := connect(ctx, p, o)
	if err != nil {
		return err
	}
	defer conn.Close()
	if o.verbose {
		fmt.Fprintf(p.stderr, "livenet dial: connected to %s %s%s\n", o.transport, conn.RemoteAddr(), terms(conn.PeerHello()))
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	d := &dialled{conn: conn, framed: o.codec == "frame", sent: make(chan struct{})}
	// A read of stdin or a write to stdout can't be interrupted, so these goroutines can't
	// be waited for. They end when that call returns, or with the process.
	go d.send(p.stdin, o.keepOpen)
	received := make(chan error, 1)
	go func() { received <- d.receive(p.stdout) }()
	go d.closeOnDrain()
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
	dialer := &recorder{Transport: t}
	conn, err := o.client().Dial(within, dialer, o.address)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, quietly(statusHurried)
	}
	why := whyNotReached(o, err)
	if dialer.connected {
		why = whyNoHello(err)
	}
	return nil, fmt.Errorf("can't connect to %s %s: %s", o.transport, o.address, why)
}

// A recorder is a transport that records whether Dial has succeeded.
type recorder struct {
	transport.Transport
	connected bool
}

func (r *recorder) Dial(ctx context.Context, addr string) (transport.Session, error) {
	s, err := r.Transport.Dial(ctx, addr)
	r.connected = err == nil
	return s, err
}

// terms returns the contents of the server's Hello as text.
func terms(hello *codec.Hello) string {
	switch {
	case hello == nil, hello.Timeout == 0:
		return ""
	}
	return fmt.Sprintf(": it allows %s of silence and wants a beat every %s", eventlog.Short(hello.Timeout), eventlog.Short(hello.Beat))
}

// dialled is an open connection.
type dialled struct {
	conn     *liveness.Conn
	framed   bool                  // the codec marks the end of data
	sent     chan struct{}         // closed when send has returned
	finished atomic.Bool           // stdin has ended
	draining atomic.Bool           // the sending direction was closed because the server drains
	stdinErr atomic.Pointer[error] // set if stdin can't be read
}

// send copies stdin to the connection. It ignores an error of Write: receive returns then,
// and the connection has the reason.
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
			d.stdinErr.Store(&err)
		}
		d.finished.Store(true)
		if !keepOpen {
			d.conn.CloseWrite()
		}
		return
	}
}

// receive copies the connection to stdout until the server's data ends. It returns an error
// only if stdout can't be written.
func (d *dialled) receive(stdout io.Writer) (stdoutErr error) {
	readAll(d.conn, func(b []byte) error {
		_, stdoutErr = stdout.Write(b)
		return stdoutErr
	})
	return stdoutErr
}

// end waits until stdin has been sent, closes the connection, and reports how it ended.
func (d *dialled) end(p *process, stdoutErr error, verbose bool) error {
	if stdoutErr == nil {
		d.awaitSent(p.typing())
	}
	draining := d.draining.Load() && !d.finished.Load()
	d.conn.Close()
	switch stdinErr := d.stdinErr.Load(); {
	case stdoutErr != nil:
		return fmt.Errorf("can't write: %w", stdoutErr)
	case stdinErr != nil:
		return fmt.Errorf("can't read: %w", *stdinErr)
	}
	end := *d.conn.End()
	if draining && (end.Reason == liveness.Done || end.Reason == liveness.PeerClosed) {
		end.Reason, end.Initiator = liveness.Draining, liveness.Peer // so stdin was not sent completely
	}
	return d.report(p, &end, verbose)
}

// awaitSent waits, after the server has closed its direction, until stdin has been sent, the
// connection ends or the server drains. If stdin is a terminal it does not wait: the user
// would have to type the end of stdin.
func (d *dialled) awaitSent(terminal bool) {
	if terminal {
		return
	}
	select {
	case <-d.sent:
	case <-d.conn.Draining():
	case <-d.conn.Done():
	}
}

// closeOnDrain closes the sending direction when the server drains, so that the server can
// finish. It returns when the connection ends.
func (d *dialled) closeOnDrain() {
	select {
	case <-d.conn.Draining():
		if d.conn.End() == nil {
			d.draining.Store(true)
			d.conn.CloseWrite()
		}
	case <-d.conn.Done():
	}
}

// report prints how the connection ended, if need be, and returns the exit status as an
// error.
func (d *dialled) report(p *process, end *liveness.Error, verbose bool) error {
	status := statusOf(end, d.finished.Load() && !d.framed)
	if status != 0 || verbose {
		p.printError(d.describe(end))
	}
	if status == 0 {
		return nil
	}
	return quietly(status)
}

// statusOf returns the exit status for an end. finished means that stdin was sent completely
// and that the codec can't mark the end of data: then a close by the server is a normal end.
func statusOf(end *liveness.Error, finished bool) int {
	switch end.Reason {
	case liveness.Done:
		return 0
	case liveness.PeerClosed:
		if finished && end.Text == "" { // a text is a reason that this version doesn't know
			return 0
		}
		return statusLost
	case liveness.PeerReset, liveness.TransportLost:
		return statusLost
	case liveness.FixedDeadline, liveness.Silent, liveness.Aged, liveness.NoHello:
		return statusDeadline
	case liveness.Draining, liveness.Kicked, liveness.Overload, liveness.Superseded, liveness.UpstreamFailed, liveness.NoTunnel, liveness.Unauthorized:
		return statusSentAway
	}
	return statusRules
}

// describe returns a line about an end.
func (d *dialled) describe(end *liveness.Error) string {
	by, after := "", end.Age
	hello := d.conn.PeerHello()
	switch {
	case end.Initiator == liveness.Peer && end.Reason == liveness.Silent && hello != nil && hello.Timeout > 0:
		// Only the server has measured the silence; this end knows the server's timeout.
		by, after = " by server", hello.Timeout
	case end.Initiator == liveness.Peer:
		by = " by server"
	case end.Reason == liveness.Silent:
		after = end.Silence
	}
	if after >= time.Second {
		// Rounded, unlike in the server's log: this end's age is a little less than the
		// server's, and a deadline of 10s should not read 9.9s.
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

// Buffers begin small and grow when a read fills them.
const (
	smallBuffer = 2 << 10
	largeBuffer = 32 << 10
)

// readAll passes what it reads to take, until Read or take fails.
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
