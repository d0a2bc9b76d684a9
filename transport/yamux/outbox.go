package yamux

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// roomy is how many bytes may lie in the outbox before streams hold back
	// theirs. Those that were not held back may still add a chunk each.
	roomy = 64 << 10

	// maxControl bounds the frames that nothing holds back (answers to pings,
	// window updates, resets) and that a peer can provoke without ever reading.
	maxControl = 64 << 10

	// farewell is how long a session that closes waits for its last frames to
	// be written.
	farewell = 100 * time.Millisecond
)

// buffers lets sessions that have nothing to send hold no memory for it.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

var errUnread = errors.New("yamux: the peer does not read, and wants answers")

// An outbox takes frames without delay and writes them to the connection, as
// many at once as there are. It owns the goroutine that writes; close waits for
// it. It is there because whoever writes to the connection himself is stuck
// with it, whatever a stream's deadline says.
type outbox struct {
	conn    io.Writer
	stopped chan struct{} // the goroutine has returned

	mu      sync.Mutex
	ready   sync.Cond     // there are bytes, or it is closing
	bytes   *[]byte       // to be written next; nil if there are none
	control int           // how many of the bytes nothing holds back
	midway  bool          // the bytes end in the middle of a frame
	after   []byte        // frames that have to wait for the end of that one
	room    chan struct{} // closed when there is room again; nil if nobody waits
	since   time.Time     // the start of the Write that runs; zero if none does
	closing bool
	err     error
}

func newOutbox(conn io.Writer) *outbox {
	o := &outbox{conn: conn, stopped: make(chan struct{})}
	o.ready.L = &o.mu
	return o
}

// put takes bytes of yamux's. Whole says that they end a frame.
func (o *outbox) put(p []byte, control, whole bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	o.add(p)
	if control {
		o.control += len(p)
	}
	if o.midway = !whole; whole && len(o.after) > 0 {
		o.add(o.after)
		o.after = nil
	}
	return o.check()
}

// insert takes a frame of our own, to go between two of yamux's.
func (o *outbox) insert(h header) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if o.midway {
		o.after = append(o.after, h...)
	} else {
		o.add(h)
	}
	o.control += len(h)
	return o.check()
}

func (o *outbox) add(p []byte) {
	if o.bytes == nil {
		o.bytes = buffers.Get().(*[]byte)
	}
	*o.bytes = append(*o.bytes, p...)
}

func (o *outbox) check() error {
	if o.control > maxControl {
		o.err = errUnread
	}
	o.ready.Signal()
	return o.err
}

// full returns nil if there is room, and otherwise a channel that is closed
// when it is worth asking again.
func (o *outbox) full() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes == nil || len(*o.bytes) < roomy || o.err != nil {
		return nil
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// run writes until the outbox is closed or the connection fails, which it tells.
func (o *outbox) run(failed func(error)) {
	defer close(o.stopped)
	for {
		p := o.take()
		if p == nil {
			return
		}
		_, err := o.conn.Write(*p)
		if err = o.wrote(p, err); err != nil {
			failed(err)
			return
		}
	}
}

// take waits for bytes. It returns nil when the outbox is closed and empty.
func (o *outbox) take() *[]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.bytes == nil && o.err == nil && !o.closing {
		o.ready.Wait()
	}
	p := o.bytes
	if p == nil {
		return nil
	}
	o.bytes = nil
	o.control = len(o.after)
	o.since = time.Now()
	o.roomAgain()
	return p
}

func (o *outbox) wrote(p *[]byte, err error) error {
	if cap(*p) <= 2*roomy {
		*p = (*p)[:0]
		buffers.Put(p)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = time.Time{}
	if o.err == nil {
		o.err = err
	}
	if o.err != nil {
		o.roomAgain()
	}
	return o.err
}

func (o *outbox) roomAgain() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// close has run write what is there, for as long as a farewell takes, and then
// hangs up, which stops it in any case.
func (o *outbox) close(hangUp func()) {
	o.mu.Lock()
	o.closing = true
	o.ready.Signal()
	patience := farewell
	if !o.since.IsZero() {
		patience -= time.Since(o.since) // it may have been stuck for long
	}
	o.mu.Unlock()

	timer := time.NewTimer(patience)
	select {
	case <-o.stopped:
	case <-timer.C:
	}
	timer.Stop()
	hangUp()

	o.mu.Lock()
	if o.err == nil {
		o.err = net.ErrClosed
	}
	o.roomAgain()
	o.mu.Unlock()
	<-o.stopped
}
