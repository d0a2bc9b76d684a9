package yamux

import (
	"errors"
	"sync"
	"time"

	"github.com/livenet/livenet/transport"
)

const (
	queueRoom    = 64 << 10               // how many bytes lie in the queue when streams begin to wait
	maxControl   = 64 << 10               // how many of them nothing holds back, though a peer provokes them
	closeTimeout = 100 * time.Millisecond // how long a session that closes waits for them to be written
)

var errPeerStuck = errors.New("yamux: the peer does not read, and wants answers")

// buffers lets sessions that have nothing to send hold no memory for it.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// A sendQueue takes frames without delay and writes them to the connection, as
// many at once as there are. It owns the goroutine that writes, which is there
// while there is something to write; close waits for it. A stream that wrote to
// the connection itself would be stuck with it, whatever its deadline says.
type sendQueue struct {
	conn    transport.Stream
	failed  func(error)    // called if the connection fails, or the peer does not read
	mu      *sync.Mutex    // the session's, which is held for put and full
	frames  *[]byte        // to be written next; nil if there are none
	control int            // how many of these bytes are not of Data frames
	room    chan struct{}  // closed when there is room again; nil if nothing waits
	running bool           // the goroutine is there
	ended   sync.WaitGroup // waits for it
	closing bool           // it is not started any more
	dead    bool           // frames are dropped from here on
}

// put takes a frame.
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
		q.fail(errPeerStuck)
	} else if !q.running {
		q.running = true
		q.ended.Go(q.run)
	}
}

// full returns nil if there is room, and otherwise a channel that is closed when
// it is worth asking again.
func (q *sendQueue) full() <-chan struct{} {
	if q.frames == nil || len(*q.frames) < queueRoom || q.dead {
		return nil
	}
	if q.room == nil {
		q.room = make(chan struct{})
	}
	return q.room
}

// run writes until there is nothing left or the connection fails.
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

// close has what is there written, for as long as closeTimeout.
func (q *sendQueue) close() {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.conn.SetWriteDeadline(time.Now().Add(closeTimeout))
	q.ended.Wait()
}
