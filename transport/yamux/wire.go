package yamux

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/transport"
)

// ErrPingFlood is why a session ended whose peer pinged too often.
var ErrPingFlood = errors.New("yamux: too many pings from the peer")

var errProtocol = errors.New("yamux: the peer broke the protocol")

// A wire stands between yamux and the connection, and follows the frames in
// both directions. Read is called by yamux's receiving goroutine only, and
// Write by its sending one.
type wire struct {
	conn   transport.Stream
	hangUp func(*transport.CloseError) // closes the connection
	ended  func(*transport.CloseError) // told when the session has ended
	accept func()                      // takes a stream from yamux, which has one

	table   *table
	out     outbox
	sweeper sweeper
	parity  uint32 // of the numbers of the streams opened here

	// What Read is in the middle of.
	in    inbox
	pings meter

	// What Write is in the middle of.
	sending uint32 // bytes to come of a frame's body

	mu           sync.Mutex
	resets       []uint32    // streams that yamux has to be told about
	unread       []*stream   // streams that yamux may still be filling
	due          atomic.Bool // there are some of either
	heard        atomic.Bool // Read may be interrupted: it is not in a handshake
	interrupting bool        // the connection's read deadline has passed
	goingAway    bool        // the peer said so, and meant no harm
	unsendable   bool        // the connection can't be written to any more
	cause        *transport.CloseError
	parting      header // what is sent last
	closed       bool
}

func newWire(conn transport.Stream, parity uint32) *wire {
	w := &wire{conn: conn, table: newTable(), parity: parity}
	w.out.conn, w.out.failed = conn, w.unsent
	w.in.receive, w.in.announced = w.receive, w.table.announced
	w.accept = func() {}
	w.sweeper.sweep = w.sweep
	w.heard.Store(parity == client.parity) // dialling includes the handshake
	return w
}

// Read hands frames to yamux as they come in, except those that are for nobody.
// It never holds back a byte of a body, but it does hold back half a header:
// what is to be done with a frame shows when its header is complete.
func (w *wire) Read(p []byte) (int, error) {
	for {
		if w.in.between() {
			w.came()
			w.tell()
		}
		if n := w.in.read(p); n > 0 {
			return n, nil
		}
		if err := w.in.err; err != nil {
			w.setCause(w.readCause(err))
			return 0, err
		}
		space := w.in.space(p)
		n, err := w.conn.Read(space)
		if n > 0 {
			w.heard.Store(true)
			w.in.fill(space, n)
		}
		if err != nil && !w.interrupted(err) {
			w.in.err = err
		}
	}
}

// receive looks at a header that came in.
func (w *wire) receive(h header) (drop bool, err error) {
	switch h.typ() {
	case typePing:
		if h.has(flagSYN) && !w.pings.take(time.Now()) {
			w.setCause(lost(ErrPingFlood))
			return false, ErrPingFlood
		}
	case typeGoAway:
		w.goAway(h.length())
	case typeData, typeWindowUpdate:
		if h.has(flagSYN) && (h.id()%2 == w.parity || w.table.has(h.id())) {
			// The number may be that of the next stream opened here, or of one that
			// is there already, and yamux would take the one for the other.
			w.setCause(lost(errProtocol))
			return false, errProtocol
		}
		drop, reset := w.table.received(h)
		if reset {
			w.reset(h.id(), noCode)
		}
		return drop, nil
	}
	return false, nil
}

// goAway notes what the peer's parting words mean. Except for the friendly one,
// after which a peer may live long, yamux ends the session at them.
func (w *wire) goAway(code uint32) {
	if code == goAwayNormal {
		w.mu.Lock()
		w.goingAway = true
		w.mu.Unlock()
		return
	}
	cause := &transport.CloseError{Origin: transport.Peer}
	switch app, ok := codeOf(code); {
	case ok:
		cause.Coded, cause.Code = true, app
	case code == goAwayProtocol:
		cause.Err = errors.New("yamux: the peer found a protocol error")
	case code == goAwayInternal:
		cause.Err = errors.New("yamux: the peer had an internal error")
	default:
		cause.Err = fmt.Errorf("yamux: the peer went away with code %#x", code)
	}
	w.setCause(cause)
}

// readCause is what it means that there is no more to read.
func (w *wire) readCause(err error) *transport.CloseError {
	cause := lost(err)
	if err == io.EOF {
		cause = &transport.CloseError{Origin: transport.Peer}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// That the connection was reset by what was written after it takes nothing from
	// what the peer has said.
	if w.goingAway && cause.Origin == transport.Peer && (!cause.Reset || w.unsendable) {
		cause.Coded, cause.Reset = true, false // code 0
	}
	return cause
}

// Write takes the frames of yamux. It does not wait for the connection.
func (w *wire) Write(p []byte) (int, error) {
	control := false
	if w.sending == 0 { // yamux writes headers by themselves
		h := header(p)
		if w.table.sent(h) {
			return len(p), nil
		}
		w.sending = h.body()
		control = w.sending == 0
	} else {
		w.sending -= min(uint32(len(p)), w.sending)
	}
	if err := w.out.put(p, control, w.sending == 0); err != nil {
		w.setCause(lost(err))
		return 0, err
	}
	return len(p), nil
}

// reset resets a stream, if it has not ended: the peer is told in a frame, and
// yamux in the same frame as if it came from the peer, for it has no other way
// to let go of a stream.
func (w *wire) reset(id uint32, code uint64) {
	if !w.table.reset(id) {
		return
	}
	if err := w.out.insert(resetFrame(id, code)); err != nil {
		w.fail(lost(err))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.resets = append(w.resets, id)
	w.comeRound()
}

// answer tells the peer that a stream was accepted, if it opened it.
func (w *wire) answer(s *stream) {
	if !w.table.answer(s.entry) {
		return
	}
	if err := w.out.insert(newHeader(typeWindowUpdate, flagACK, s.inner.StreamID(), 0)); err != nil {
		w.fail(lost(err))
	}
}

// comeRound has Read do what is due. The lock is held.
func (w *wire) comeRound() {
	w.due.Store(true)
	if w.heard.Load() {
		w.interrupting = true
		w.conn.SetReadDeadline(longAgo)
	}
}

// interrupted reports whether a Read of the connection ended because of reset.
func (w *wire) interrupted(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.interrupting {
		return false
	}
	w.interrupting = false
	w.conn.SetReadDeadline(time.Time{})
	return true
}

// came wakes those who wait for what yamux was given: it asks for more only when
// it is done with that.
func (w *wire) came() {
	w.table.came()
	if w.in.opened == 0 {
		return
	}
	for ; w.in.opened > 0; w.in.opened-- {
		w.accept()
	}
	w.table.wakeAcceptor()
}

// tell prepares a frame for yamux if it is time for one: between two others, as
// yamux sees them, which it always is when Read has to wait for the connection.
// That is also the time to empty the streams that were closed here: yamux does
// not hold the lock of a stream whose frame has not begun.
func (w *wire) tell() {
	if !w.due.Load() {
		return
	}
	w.mu.Lock()
	for _, id := range w.resets {
		w.in.insert(w.table.forget(id))
	}
	w.resets = w.resets[:0]
	unread := w.unread
	w.unread = nil
	w.due.Store(false)
	w.mu.Unlock()

	for _, s := range unread {
		s.discard() // may wait for yamux's sending goroutine, which waits for nobody
	}
}

// linger is for a stream that was closed here. What comes in from now on is
// dropped; but what came before lies in the stream's buffer, or is on its way
// there. Nobody would read it, so the peer's window would stay shut, and the
// peer, stuck before it has sent what brings it the reset, would wait for ever.
// So Read comes round to empty the buffer, between two frames: then nothing is
// on its way.
func (w *wire) linger(s *stream) {
	lingers, tooLong, found := w.table.linger(s.inner.StreamID())
	if lingers { // after the table knows: Read lets nothing more through
		w.mu.Lock()
		if !w.closed {
			w.unread = append(w.unread, s)
			w.comeRound()
		}
		w.mu.Unlock()
	}
	if found {
		w.reset(tooLong, noCode)
	}
}

// sweep has yamux let go of the buffers in which nothing is.
func (w *wire) sweep() {
	for _, s := range w.table.attached() {
		s.inner.Shrink()
	}
}

// setCause says why the session ends. The first call counts.
func (w *wire) setCause(cause *transport.CloseError) {
	w.mu.Lock()
	if w.cause == nil {
		w.cause = cause
	}
	w.mu.Unlock()
}

// unsent is for a connection that can't be written to any more. That says little of
// why: the peer may have said it before, in what is still to be read. So it is for
// Read to find the end, which takes no longer than a moment.
func (w *wire) unsent(err error) {
	cause := lost(err)
	if err == errUnread || cause.Origin == transport.Local {
		w.fail(cause)
		return
	}
	w.mu.Lock()
	w.unsendable = true
	w.mu.Unlock()
	time.AfterFunc(farewell, func() { w.fail(cause) })
}

// fail ends the session: without a connection yamux's goroutines return.
func (w *wire) fail(cause *transport.CloseError) {
	w.setCause(cause)
	w.hangUp(cause)
}

// part is for a session that this end closes.
func (w *wire) part(cause *transport.CloseError) {
	w.setCause(cause)
	w.mu.Lock()
	w.parting = goAwayFrame(cause.Code)
	w.mu.Unlock()
}

// Close is called by yamux when the session ends, for whatever reason. Those
// who wait in streams are told first, as the farewell may take its time.
func (w *wire) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	if w.cause == nil { // yamux ended it, and only one thing makes it do so
		w.cause = lost(errProtocol)
	}
	cause, parting := w.cause, w.parting
	w.mu.Unlock()

	w.sweeper.stop()
	w.ended(cause)
	if parting != nil {
		w.out.insert(parting)
	}
	w.out.close(func() { w.hangUp(cause) })
	return nil
}

// lost says in the words of package transport why a connection failed. The
// connection's own words, if it has any, are copied.
func lost(err error) *transport.CloseError {
	if ce, ok := errors.AsType[*transport.CloseError](err); ok {
		ce := *ce
		return &ce
	}
	return &transport.CloseError{Origin: transport.Lost, Err: err}
}
