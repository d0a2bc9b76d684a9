package yamux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

// heldBy returns the memory that the unread input of a session takes, as the session counts
// it and as the sum over its streams.
func heldBy(s *session) (counted, added int) {
	s.mu.Lock()
	defer s.unlock()
	for _, st := range s.streams {
		for _, segment := range st.in.segments {
			added += cap(segment)
		}
	}
	return s.held, added
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A peer that fills the windows of as many streams as it may, none of which is read, takes
// no more memory than the budget. The streams that hold the most are reset; others go on.
func TestReceiveBudgetLimitsAnAttack(t *testing.T) {
	const streams = backlog // and none is even accepted
	before := heap()
	raw, s := pipedSession(t, nil)
	s.readTimeout = time.Millisecond
	go io.Copy(io.Discard, raw)
	full := make([]byte, window)
	for i := range uint32(streams) {
		raw.Write(append(newHeader(typeData, flagSYN, 2*i+1, window), full...))
		if counted, added := heldBy(s); counted != added || counted > defaultBudget {
			t.Fatalf("with %d streams %d bytes are held, %d counted", i+1, added, counted)
		}
	}
	raw.Write(newHeader(typePing, flagACK, 0, 0)) // then it has taken all
	if more := heap() - before; more > defaultBudget*3/2 {
		t.Errorf("the heap has grown by %d KiB", more>>10)
	}
	resets := 0
	for range streams {
		st, err := s.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(st, full)
		if errors.Is(err, ErrUnread) {
			resets++
		} else if err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	}
	if want := streams - defaultBudget/window; resets < want || resets > want+1 {
		t.Errorf("%d streams were reset, want %d", resets, want)
	}
	if counted, added := heldBy(s); counted+added != 0 {
		t.Errorf("when all is read %d bytes are held, %d counted", added, counted)
	}
	// The session has survived.
	go raw.Write(dataFrame(flagSYN, 2*streams+1, "hello"))
	if _, err := io.ReadFull(acceptSoon(t, s), make([]byte, 5)); err != nil {
		t.Error(err)
	}
}

const defaultBudget = 4 << 20

// The smallest frames don't take more memory either.
func TestReceiveBudgetSmallFrames(t *testing.T) {
	raw, s := pipedSession(t, nil)
	go io.Copy(io.Discard, raw)
	const each = 2000
	var frames []byte
	for i := range uint32(backlog) {
		frames = append(frames, newHeader(typeWindowUpdate, flagSYN, 2*i+1, 0)...)
		frames = append(frames, bytes.Repeat(dataFrame(0, 2*i+1, "x"), each)...)
	}
	raw.Write(frames)
	raw.Write(newHeader(typePing, flagACK, 0, 0)) // then it has taken all
	if counted, added := heldBy(s); counted != added || counted > 2*backlog*each {
		t.Errorf("%d bytes take %d, %d are counted", backlog*each, added, counted)
	}
}

// Every read restarts the time that handlers have when the budget is used up. When it has
// passed, only the stream with the most unread input is reset.
func TestReceiveBudgetReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &session{streams: make(map[uint32]*stream), budget: defaultBudget, readTimeout: time.Second}
		s.ctx, s.cancel = context.WithCancelCause(t.Context())
		s.wire = &wire{session: s, out: sendQueue{mu: &s.mu, dead: true}}
		small, large, next := s.add(1), s.add(3), s.add(5)
		s.addHeld(small.in.add(make([]byte, 100)))
		for range 4 {
			s.addHeld(large.in.add(make([]byte, blockSize)))
		}
		s.budget = s.held
		start := time.Now()
		took := make(chan time.Duration, 1)
		go func() {
			s.mu.Lock()
			defer s.unlock()
			s.waitForBudget(next)
			took <- time.Since(start)
		}()
		for range 10 {
			time.Sleep(s.readTimeout * 9 / 10)
			s.mu.Lock()
			s.addHeld(-1)
			s.held++ // no room yet
			s.unlock()
		}
		if got, want := <-took, 10*s.readTimeout; got != want { // 9 of them until the last read
			t.Errorf("it took %v, want %v", got, want)
		}
		s.mu.Lock()
		defer s.unlock()
		if small.r.err != nil || next.r.err != nil || !errors.Is(large.r.err, ErrUnread) || large.state != closed {
			t.Errorf("small: %v; large: %v; next: %v", small.r.err, large.r.err, next.r.err)
		}
	})
}

// pipedSession returns an accepted session on a pipe, and the other end of the pipe.
func pipedSession(t *testing.T, config *Config) (raw net.Conn, s *session) {
	here, raw := net.Pipe()
	inner := transport.Single(here)
	conn, err := inner.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s = newSession(inner, conn, server, config)
	t.Cleanup(func() { s.Close(0, ""); raw.Close() })
	return raw, s
}

// No stream is reset while all of them are echoed, even if their windows exceed the budget
// many times. The peer is this package or the library alone.
func TestReceiveBudgetResetsNoEchoedStream(t *testing.T) {
	type opener func() (io.ReadWriteCloser, func() error, error)
	for name, connect := range map[string]func() (*session, opener){
		"livenet": func() (*session, opener) {
			client, server := connect(t)
			return server, func() (io.ReadWriteCloser, func() error, error) {
				st, err := client.OpenStream(t.Context())
				if err != nil {
					return nil, nil, err
				}
				return st, st.CloseWrite, nil
			}
		},
		"library": func() (*session, opener) {
			server, raw := rawClient(t)
			client, err := yamux.Client(raw, plainConfig)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Close() })
			return server, func() (io.ReadWriteCloser, func() error, error) {
				st, err := client.OpenStream()
				if err != nil {
					return nil, nil, err
				}
				return st, st.Close, nil
			}
		},
	} {
		for _, streams := range []int{20, 100, 1000} {
			t.Run(fmt.Sprint(name, "/", streams), func(t *testing.T) {
				server, open := connect()
				go func() {
					for {
						st, err := server.AcceptStream(t.Context())
						if err != nil {
							return
						}
						go func() {
							if _, err := io.Copy(st, st); err != nil && server.ctx.Err() == nil {
								t.Errorf("the echo ended: %v", err)
							}
							st.Close()
						}()
					}
				}()
				size := (24 << 20) / streams
				var wg sync.WaitGroup
				for range streams {
					st, finish, err := open()
					if err != nil {
						t.Fatal(err)
					}
					wg.Go(func() {
						wg.Go(func() {
							st.Write(make([]byte, size))
							finish()
						})
						if n, err := io.Copy(io.Discard, st); n != int64(size) || err != nil {
							t.Errorf("%d bytes of %d came back, %v", n, size, err)
						}
						st.Close()
					})
				}
				wg.Wait()
				server.Close(0, "")
			})
		}
	}
}

// A stream's receive window follows its send window, less what a handler may hold, but is
// at least its share of half the budget.
func TestReceiveWindowFollowsSendWindow(t *testing.T) {
	for _, test := range []struct{ streams, sendWindow, want int }{
		{1, window, window},
		{1, 0, window},
		{1000, window, window - blockSize},
		{1000, window / 2, window/2 - blockSize},
		{16, 0, defaultBudget / 2 / 16},
		{1000, 0, defaultBudget / 2 / 1000},
		{1000, blockSize, defaultBudget / 2 / 1000},
	} {
		s := &session{streams: make(map[uint32]*stream), budget: defaultBudget}
		s.wire = &wire{session: s, out: sendQueue{mu: &s.mu, dead: true}}
		for i := range uint32(test.streams) {
			s.add(2*i + 1)
		}
		st := s.streams[1]
		st.sendWindow = uint32(test.sendWindow)
		most := 0
		for sent := 0; sent < 4*window; sent += 512 {
			st.receive(make([]byte, 512))
			st.read(make([]byte, 512))
			if sent > window {
				most = max(most, int(st.recvWindow))
			}
		}
		if most != test.want {
			t.Errorf("%d streams, %d to send: the window is %d at most, want %d", test.streams, test.sendWindow, most, test.want)
		}
	}
}

// When a peer reads again, it gets the window update that was withheld: it may be blocked
// waiting for it.
func TestReceiveWindowOpensWhenThePeerReadsAgain(t *testing.T) {
	raw, s := pipedSession(t, nil)
	for i := range uint32(200) {
		raw.Write(newHeader(typeWindowUpdate, flagSYN, 2*i+1, 0))
	}
	st := acceptSoon(t, s)
	go func() { // writes a window, and then waits for the peer to read
		st.Write(make([]byte, window+1))
	}()
	go raw.Write(append(newHeader(typeData, 0, st.id, window), make([]byte, window)...))
	io.ReadFull(raw, make([]byte, headerSize)) // ACK
	sent := 0
	frame := make([]byte, headerSize)
	for sent < window {
		io.ReadFull(raw, frame)
		n, _ := io.CopyN(io.Discard, raw, int64(header(frame).body()))
		sent += int(n)
	}
	granted := make(chan uint32, 1000)
	go func() {
		for {
			if _, err := io.ReadFull(raw, frame); err != nil {
				close(granted)
				return
			}
			if h := header(frame); h.typ() == typeWindowUpdate {
				granted <- h.length()
			} else {
				io.CopyN(io.Discard, raw, int64(h.body()))
			}
		}
	}()
	read := make(chan struct{})
	go func() {
		io.ReadFull(st, make([]byte, window))
		close(read)
	}()
	if n := <-granted; int(n) > defaultBudget/2/200 {
		t.Errorf("it was given %d", n)
	}
	<-read
	go raw.Write(newHeader(typeWindowUpdate, 0, st.id, window))
	for got := uint32(0); got < window/2; {
		got += <-granted
	}
}
