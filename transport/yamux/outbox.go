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
// many at once as there are. It owns the goroutine that writes, which is there
// as long as there is something to write; close waits for it. That goroutine is
// there because whoever writes to the connection himself is stuck with it,
// whatever a stream's deadline says.
type outbox struct {
	conn   io.Writer
	failed func(error) // called by the goroutine if the connection fails, or the peer does not read

	mu      sync.Mutex
	bytes   *[]byte       // to be written next; nil if there are none
	control int           // how many of the bytes nothing holds back
	midway  bool          // the bytes end in the middle of a frame
	after   []byte        // frames that have to wait for the end of that one
	room    chan struct{} // closed when there is room again; nil if nobody waits
	since   time.Time     // the start of the Write that runs; zero if none does
	writing bool          // the goroutine runs
	closed  bool          // and starts no more
	stopped chan struct{} // closed when it is so, and has returned; nil if nobody waits
	err     error
	broken  bool // err is the connection's: what comes from here on is dropped
}

// put takes bytes of yamux's. Whole says that they end a frame.
func (o *outbox) put(p []byte, control, whole bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.broken:
		return nil
	case o.err != nil:
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
	switch {
	case o.broken:
		return nil
	case o.err != nil:
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

// check has the bytes written, and says whether there are too many. The lock is
// held.
func (o *outbox) check() error {
	if o.control > maxControl {
		o.err = errUnread
	}
	if !o.writing && !o.closed {
		o.writing = true
		go o.run()
	}
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

// run writes until there is nothing left or the connection fails.
func (o *outbox) run() {
	for {
		p := o.take()
		if p == nil {
			return
		}
		_, err := o.conn.Write(*p)
		if err = o.wrote(p, err); err != nil {
			o.failed(err)
			o.mu.Lock()
			o.stop()
			o.mu.Unlock()
			return
		}
	}
}

// take returns nil if there is nothing to write, and that is the goroutine's end.
func (o *outbox) take() *[]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.bytes
	if p == nil {
		o.stop()
		return nil
	}
	o.bytes = nil
	o.control = len(o.after)
	o.since = time.Now()
	o.roomAgain()
	return p
}

// stop is the last that the goroutine does. If somebody waits for that, it is not
// started again, unless there are frames yet to come after the rest of another:
// yamux is about to put that, as it does even when the session ends. The lock is
// held.
func (o *outbox) stop() {
	o.writing = false
	if o.stopped != nil && (len(o.after) == 0 || o.err != nil) {
		close(o.stopped)
		o.closed, o.stopped = true, nil
	}
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
		o.err, o.broken = err, err != nil
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

// close has what is there written, for as long as a farewell takes, and then
// hangs up, which stops the goroutine in any case.
func (o *outbox) close(hangUp func()) {
	stopped := make(chan struct{})
	o.mu.Lock()
	o.stopped = stopped
	if !o.writing {
		o.stop()
	}
	patience := farewell
	if !o.since.IsZero() {
		patience -= time.Since(o.since) // it may have been stuck for long
	}
	o.mu.Unlock()

	timer := time.NewTimer(patience)
	select {
	case <-stopped:
	case <-timer.C:
	}
	timer.Stop()
	hangUp()

	o.mu.Lock()
	if o.err == nil {
		o.err = net.ErrClosed
	}
	if !o.writing {
		o.stop()
	}
	o.roomAgain()
	o.mu.Unlock()
	<-stopped
}
