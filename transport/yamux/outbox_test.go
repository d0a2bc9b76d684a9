package yamux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// running starts an outbox that writes to one end of a pipe, on which nothing
// is written without somebody reading.
func running(t *testing.T) (o *outbox, conn net.Conn, failed chan error) {
	here, there := net.Pipe()
	failed = make(chan error, 1)
	o = &outbox{conn: here, failed: func(err error) { failed <- err }}
	t.Cleanup(func() {
		o.close(func() { here.Close() })
		there.Close()
	})
	return o, there, failed
}

// Our own frames never come between a header and its body.
func TestOutboxOrder(t *testing.T) {
	o, conn, _ := running(t)
	data := newHeader(typeData, 0, 1, 4)
	reset := resetFrame(3, 1)
	o.put(data, false, false)
	o.insert(reset)
	o.put([]byte("body"), false, true)
	got := make([]byte, len(data)+4+len(reset))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	if want := append(append(append([]byte(nil), data...), "body"...), reset...); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestOutboxRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, conn, _ := running(t)
		if o.full() != nil {
			t.Error("an empty one is full")
		}
		o.put(make([]byte, roomy), false, true)
		synctest.Wait() // these are being written
		if o.full() != nil {
			t.Error("full of what has left it")
		}
		o.put(make([]byte, roomy), false, true)
		room := o.full()
		if room == nil {
			t.Fatal("no end of room")
		}
		go io.Copy(io.Discard, conn)
		<-room
	})
}

// Nobody stands by while there is nothing to write.
func TestOutboxRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, conn, _ := running(t)
		for range 3 {
			o.put([]byte("data"), false, true)
			synctest.Wait()
			if !o.isWriting() {
				t.Error("nobody writes")
			}
			if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if o.isWriting() {
				t.Error("somebody is left when all is written")
			}
		}
	})
}

func (o *outbox) isWriting() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.writing
}

// A peer that reads nothing cannot have us hoard answers.
func TestOutboxUnread(t *testing.T) {
	o, _, _ := running(t)
	var err error
	for range 3 * maxControl / headerSize {
		if err = o.insert(resetFrame(1, 0)); err != nil {
			break
		}
	}
	if err != errUnread {
		t.Errorf("got %v", err)
	}
}

func TestOutboxFails(t *testing.T) {
	o, conn, failed := running(t)
	conn.Close()
	o.put(goAwayFrame(0), true, true)
	if err := <-failed; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("failed with %v", err)
	}
	for range 2 * maxControl / headerSize { // which nobody misses, until the end is found
		o.put(goAwayFrame(0), true, true)
		o.insert(goAwayFrame(0))
	}
	if o.bytes != nil || o.after != nil || o.isWriting() {
		t.Error("keeps what it cannot write")
	}
}

// The farewell is written if that is possible, and not waited for otherwise.
func TestOutboxClose(t *testing.T) {
	for _, test := range []struct {
		name  string
		stuck time.Duration // when it is closed, a Write has been for so long
		takes time.Duration
	}{
		{"just stuck", 0, farewell},
		{"stuck for a while", farewell / 4, farewell * 3 / 4},
		{"stuck for long", 2 * farewell, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, _, _ := running(t)
				o.put([]byte("nobody reads this"), false, true)
				synctest.Wait()
				time.Sleep(test.stuck)
				o.insert(goAwayFrame(3))
				start := time.Now()
				o.close(func() { o.conn.(net.Conn).Close() })
				if took := time.Since(start); took != test.takes {
					t.Errorf("took %v, want %v", took, test.takes)
				}
			})
		})
	}
	t.Run("not stuck", func(t *testing.T) {
		o, conn, _ := running(t)
		o.insert(goAwayFrame(3))
		go o.close(func() { o.conn.(net.Conn).Close() })
		if got, err := io.ReadAll(conn); !bytes.Equal(got, goAwayFrame(3)) || err != nil {
			t.Errorf("read %x, %v", got, err)
		}
	})
}

// A farewell that has to wait for the rest of a frame is written after it, if
// that comes in time.
func TestOutboxCloseMeetsHalfFrame(t *testing.T) {
	for name, body := range map[string]string{"the rest comes": "body", "nothing comes": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, conn, _ := running(t)
				o.put(newHeader(typeData, 0, 1, 4), false, false)
				if _, err := io.ReadFull(conn, make([]byte, headerSize)); err != nil {
					t.Fatal(err)
				}
				o.insert(goAwayFrame(3))
				synctest.Wait()
				if o.isWriting() {
					t.Fatal("there is something to write")
				}
				start := time.Now()
				closed := make(chan time.Duration, 1)
				go func() {
					o.close(func() { o.conn.(net.Conn).Close() })
					closed <- time.Since(start)
				}()
				synctest.Wait()
				want, takes := "", farewell
				if body != "" {
					o.put([]byte(body), false, true)
					want, takes = body+string(goAwayFrame(3)), 0
				}
				if got, err := io.ReadAll(conn); string(got) != want || err != nil {
					t.Errorf("read %q, %v, want %q", got, err, want)
				}
				if took := <-closed; took != takes {
					t.Errorf("took %v, want %v", took, takes)
				}
				if err := o.put([]byte("more"), false, true); err == nil || o.isWriting() {
					t.Errorf("afterwards it takes more: %v, %v", err, o.isWriting())
				}
			})
		})
	}
}
