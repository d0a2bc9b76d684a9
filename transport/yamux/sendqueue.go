package yamux

import (
	"errors"
	"sync"
	"time"

	"github.com/livenet/livenet/transport"
)

const (
	queueRoom    = 64 << 10               // bytes in the queue at which streams have to wait
	maxControl   = 64 << 10               // most bytes of control frames, which the peer may provoke
	closeTimeout = 100 * time.Millisecond // how long Close waits for the queue to be written
)

var errPeerBlocked = errors.New("yamux: the peer demands answers and does not read them")

// buffers is shared, so that sessions with nothing to send hold no buffer.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// A sendQueue accepts frames without blocking and writes them to the connection, as many
// at once as there are. It owns the goroutine that writes, which exists only while there is
// something to write; close waits for it. A stream can't write to the connection itself,
// since a blocked connection would ignore the stream's deadline.
type sendQueue struct {
	conn    transport.Stream
	failed  func(error)    // called if the connection fails, or the peer does not read
	mu      *sync.Mutex    // the session's; held during put and full
	frames  *[]byte        // to be written next; nil if there are none
	control int            // bytes of frames that belong to control frames
	room    chan struct{}  // closed when there is room again; nil if no stream waits
	running bool           // the goroutine is running
	ended   sync.WaitGroup // waits for the goroutine
	closing bool           // the goroutine is not started any more
	dead    bool           // frames are dropped
}

// put appends a frame.
func (q *sendQueue) put(h header, body []byte) {
	if q.dead || q.closing && !q.running {
		return
	}
	if q.frames == nil {
		q.frames = buffers.Get().(*[]byte)
	}
	*q.frames = append(append(*q.frames, h...), body...)
	if len(body) == 0 {
		q.control += len(h)
	}
	if q.control > maxControl {
		q.fail(errPeerBlocked)
	} else if !q.running {
		q.running = true
		q.ended.Go(q.run)
	}
}

// full returns nil if there is room, and otherwise a channel that is closed when there is.
func (q *sendQueue) full() <-chan struct{} {
	if q.frames == nil || len(*q.frames) < queueRoom || q.dead {
		return nil
	}
	if q.room == nil {
		q.room = make(chan struct{})
	}
	return q.room
}

// run writes until the queue is empty or the connection fails.
func (q *sendQueue) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.frames != nil && !q.dead {
		p := q.frames
		q.frames, q.control = nil, 0
		q.wakeRoom()
		q.mu.Unlock()
		_, err := q.conn.Write(*p)
		if cap(*p) <= 2*queueRoom {
			*p = (*p)[:0]
			buffers.Put(p)
		}
		if q.mu.Lock(); err != nil && !q.dead {
			q.fail(err)
		}
	}
	q.running = false
}

func (q *sendQueue) fail(err error) {
	q.dead = true
	q.wakeRoom()
	q.failed(err)
}

func (q *sendQueue) wakeRoom() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// close writes the queued frames for at most closeTimeout.
func (q *sendQueue) close() {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.conn.SetWriteDeadline(time.Now().Add(closeTimeout))
	q.ended.Wait()
}
