package yamux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/transport"
)

// piped is one end of a pipe as a transport.Stream.
type piped struct {
	transport.Stream
	net.Conn
}

func (p piped) Read(b []byte) (int, error)         { return p.Conn.Read(b) }
func (p piped) Write(b []byte) (int, error)        { return p.Conn.Write(b) }
func (p piped) Close() error                       { return p.Conn.Close() }
func (p piped) LocalAddr() net.Addr                { return p.Conn.LocalAddr() }
func (p piped) RemoteAddr() net.Addr               { return p.Conn.RemoteAddr() }
func (p piped) SetDeadline(t time.Time) error      { return p.Conn.SetDeadline(t) }
func (p piped) SetReadDeadline(t time.Time) error  { return p.Conn.SetReadDeadline(t) }
func (p piped) SetWriteDeadline(t time.Time) error { return p.Conn.SetWriteDeadline(t) }

// A queue is a sendQueue that locks its own mutex.
type queue struct{ sendQueue }

func (q *queue) put(body string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sendQueue.put(newHeader(typeData, 0, 1, uint32(len(body))), []byte(body))
}

func (q *queue) putControl(h header) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sendQueue.put(h, nil)
}

func (q *queue) full() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sendQueue.full()
}

func (q *queue) isRunning() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running
}

// newQueue returns a queue that writes to a pipe, whose writes block until they are read.
func newQueue(t *testing.T) (q *queue, conn net.Conn, failed chan error) {
	here, there := net.Pipe()
	failed = make(chan error, 1)
	q = &queue{sendQueue{mu: new(sync.Mutex), conn: piped{Conn: here}, failed: func(err error) { failed <- err }}}
	t.Cleanup(func() {
		here.Close()
		there.Close()
		q.close()
	})
	return q, there, failed
}

func TestSendQueueReportsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, conn, _ := newQueue(t)
		if q.full() != nil {
			t.Error("an empty one is full")
		}
		q.put(string(make([]byte, queueRoom)))
		synctest.Wait() // these are being written
		if q.full() != nil {
			t.Error("full of what has left it")
		}
		q.put(string(make([]byte, queueRoom)))
		room := q.full()
		if room == nil {
			t.Fatal("no end of room")
		}
		go io.Copy(io.Discard, conn)
		<-room
	})
}

// There is no goroutine while there is nothing to write.
func TestIdleSendQueueHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, conn, _ := newQueue(t)
		for range 3 {
			q.put("data")
			synctest.Wait()
			if !q.isRunning() {
				t.Error("nothing writes")
			}
			if _, err := io.ReadFull(conn, make([]byte, headerSize+4)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if q.isRunning() {
				t.Error("the goroutine is left when all is written")
			}
		}
	})
}

// A peer that reads nothing can't make the queue of answers grow without limit.
func TestSendQueueLimitsControlFrames(t *testing.T) {
	q, _, failed := newQueue(t)
	for range 3 * maxControl / headerSize {
		q.putControl(resetFrame(1, 0))
	}
	if err := <-failed; err != errPeerBlocked {
		t.Errorf("got %v", err)
	}
	if n := len(*q.frames); n > maxControl+headerSize {
		t.Errorf("%d bytes are kept", n)
	}
}

func TestSendQueueReportsAFailedWrite(t *testing.T) {
	q, conn, failed := newQueue(t)
	conn.Close()
	q.putControl(goAwayFrame(0))
	if err := <-failed; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("failed with %v", err)
	}
	for range 2 * maxControl / headerSize { // dropped: the connection has failed
		q.putControl(goAwayFrame(0))
	}
	if q.frames != nil {
		t.Error("keeps what it cannot write")
	}
}

// close writes the last frames if it can, and does not wait long.
func TestSendQueueClose(t *testing.T) {
	t.Run("peer does not read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, _, _ := newQueue(t)
			q.put("never read")
			synctest.Wait()
			start := time.Now()
			q.putControl(goAwayFrame(3))
			q.close()
			if took := time.Since(start); took != closeTimeout || q.isRunning() {
				t.Errorf("took %v, want %v", took, closeTimeout)
			}
		})
	})
	t.Run("peer reads", func(t *testing.T) {
		q, conn, _ := newQueue(t)
		q.putControl(goAwayFrame(3))
		go q.close()
		got := make([]byte, headerSize)
		if _, err := io.ReadFull(conn, got); !bytes.Equal(got, goAwayFrame(3)) || err != nil {
			t.Errorf("read %x, %v", got, err)
		}
	})
}
