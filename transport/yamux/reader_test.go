package yamux

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

// A fed is a connection whose input comes from the test.
type fed struct {
	transport.Stream
	food  chan []byte
	left  []byte
	close func()
	gone  <-chan struct{}
}

func newFed() *fed {
	gone := make(chan struct{})
	return &fed{food: make(chan []byte), close: sync.OnceFunc(func() { close(gone) }), gone: gone}
}

// feed passes p to yamux, and returns when yamux reads again.
func (f *fed) feed(p []byte) {
	for _, p := range [][]byte{p, nil} {
		select {
		case f.food <- p:
		case <-f.gone:
		}
	}
}

func (f *fed) Read(p []byte) (int, error) {
	for len(f.left) == 0 {
		select {
		case f.left = <-f.food:
		case <-f.gone:
			return 0, net.ErrClosed
		}
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}

func (f *fed) Write(p []byte) (int, error)      { return len(p), nil }
func (f *fed) SetWriteDeadline(time.Time) error { return nil }

// A fedSession is a session whose only stream is a fed.
type fedSession struct {
	transport.Session
	conn *fed
}

func (s fedSession) Close(uint64, string) error {
	s.conn.close()
	return nil
}

// recorded returns what the library sends when it opens a few streams and writes to them in
// turn.
func recorded(t *testing.T) []byte {
	t.Helper()
	here, there := net.Pipe()
	var sent bytes.Buffer
	client, err := yamux.Client(recorder{here, &sent}, plainConfig)
	if err != nil {
		t.Fatal(err)
	}
	server, err := yamux.Server(there, plainConfig)
	if err != nil {
		t.Fatal(err)
	}
	var opened []*yamux.Stream
	for range 3 {
		s, err := client.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		opened = append(opened, s)
	}
	for size := range 8 {
		for i, s := range opened {
			body := bytes.Repeat([]byte{byte('a' + size + 8*i)}, 1+i+size*size/2)
			if _, err := s.Write(body); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range opened[1:] {
		s.Close()
	}
	client.Close()
	server.Close()
	return sent.Bytes() // all writers have ended
}

type recorder struct {
	net.Conn
	sent *bytes.Buffer
}

func (r recorder) Write(p []byte) (int, error) {
	r.sent.Write(p)
	return r.Conn.Write(p)
}

// If the input pauses after any byte, each stream whose header has arrived can be accepted,
// and all its bytes that have arrived can be read. In the end every stream is complete.
func TestInputMayPauseAfterAnyByte(t *testing.T) {
	for _, test := range []struct {
		name string
		sent []byte
	}{
		{"the library", recorded(t)},
		{"flags with data", bytes.Join([][]byte{
			dataFrame(flagSYN, 1, "first"),
			dataFrame(flagSYN|flagFIN, 3, "both ends"),
			newHeader(typePing, flagACK, 0, 7),
			dataFrame(0, 1, ", second"),
			dataFrame(flagSYN, 5, ""),
			dataFrame(flagFIN, 1, ", last"),
			dataFrame(0, 5, "goes on"),
		}, nil)},
	} {
		t.Run(test.name, func(t *testing.T) {
			for at := range len(test.sent) + 1 {
				pauseAt(t, test.sent, at)
				if t.Failed() {
					t.Fatalf("with a pause after %d bytes of %d", at, len(test.sent))
				}
			}
		})
	}
}

func pauseAt(t *testing.T, sent []byte, at int) {
	ctx, cancel := context.WithTimeout(t.Context(), maxWait)
	defer cancel()
	conn := newFed()
	s := newSession(fedSession{conn: conn}, conn, server, nil)
	defer s.Close(0, "")
	defer context.AfterFunc(ctx, func() { s.Close(0, "") })() // for what does not obey it

	accepted := make(map[uint32]transport.Stream)
	read := make(map[uint32]int)
	came := 0
	for _, until := range []int{at, len(sent)} {
		conn.feed(sent[came:until])
		came = until
		streams := bodies(sent[:came])
		for len(accepted) < len(streams) {
			st, err := s.AcceptStream(ctx)
			if err != nil {
				t.Errorf("AcceptStream: %v", err)
				return
			}
			accepted[st.(*stream).id] = st
		}
		for id, want := range streams {
			want.body = want.body[read[id]:]
			read[id] += len(want.body)
			got := make([]byte, len(want.body))
			if _, err := io.ReadFull(accepted[id], got); err != nil || !bytes.Equal(got, want.body) {
				t.Errorf("stream %d: read %q, %v, want %q", id, got, err, want.body)
				return
			}
			if !want.ended {
				continue
			}
			if n, err := accepted[id].Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("stream %d: at its end, read %d, %v", id, n, err)
			}
		}
	}
}

type sentOn struct {
	body  []byte
	ended bool
}

// bodies returns what frames carry for each stream; the last frame may be truncated.
func bodies(frames []byte) map[uint32]*sentOn {
	all := make(map[uint32]*sentOn)
	for len(frames) >= headerSize {
		h := header(frames)
		size := min(int(h.body()), len(frames)-headerSize)
		on := all[h.id()]
		if on == nil && h.has(flagSYN) {
			on = new(sentOn)
			all[h.id()] = on
		}
		if on != nil {
			on.body = append(on.body, frames[headerSize:][:size]...)
			on.ended = h.has(flagFIN) && size == int(h.body())
		}
		frames = frames[headerSize+size:]
	}
	return all
}

// pieces is a reader that returns size bytes at a time.
type pieces struct {
	left []byte
	size int
}

func (r *pieces) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(r.size, len(p))], r.left)
	r.left = r.left[n:]
	return n, nil
}

// FIN in a Data frame takes effect after its last byte, RST at once.
func TestFlagsWithData(t *testing.T) {
	for cut := 1; cut <= headerSize+4; cut++ {
		ours, raw := rawClient(t)
		frame := append(dataFrame(flagSYN, 1, ""), dataFrame(flagFIN, 1, "last")...)
		raw.Write(frame[:headerSize+cut])
		st := acceptSoon(t, ours)
		raw.Write(frame[headerSize+cut:])
		if got, err := io.ReadAll(st); string(got) != "last" || err != nil {
			t.Errorf("cut at %d: read %q, %v", cut, got, err)
		}
		raw.Write(dataFrame(flagSYN, 3, "lost"))
		st = acceptSoon(t, ours)
		raw.Write(append(dataFrame(flagRST, 3, "must not be read"), dataFrame(flagSYN, 5, "next")...))
		next := acceptSoon(t, ours)
		if n, err := st.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("after a reset: read %d, %v", n, err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(next, got); string(got) != "next" || err != nil {
			t.Errorf("the next stream: %q, %v", got, err)
		}
		ours.Close(0, "")
	}
}

// Any input, in pieces of any size, leaves the session open or ends it with a cause, and
// takes no more memory than the budget.
func FuzzSession(f *testing.F) {
	f.Add([]byte(newHeader(typePing, flagSYN, 0, 1)), uint16(1))
	f.Add([]byte(goAwayFrame(5)), uint16(100))
	f.Add(append([]byte(newHeader(typeData, flagSYN|flagFIN, 1, window)), "short"...), uint16(3))
	f.Add(dataFrame(flagSYN|flagFIN, 1, "all at once"), uint16(4))
	f.Add(dataFrame(flagSYN|flagRST, 1, "to no end"), uint16(4))
	f.Add(bytes.Join([][]byte{dataFrame(flagSYN, 1, "a"), dataFrame(flagFIN, 1, "b"), resetFrame(1, 3), dataFrame(flagSYN, 1, "c")}, nil), uint16(5))
	f.Fuzz(func(t *testing.T, in []byte, size uint16) {
		conn := newFed()
		s := newSession(fedSession{conn: conn}, conn, server, nil)
		for len(in) > 0 {
			n := min(len(in), 1+int(size))
			conn.feedUntil(in[:n], s.ctx.Done())
			in = in[n:]
		}
		s.mu.Lock()
		held := 0
		for _, st := range s.streams {
			held += st.in.held
			if st.in.unread > st.in.held || st.in.unread+int(st.recvWindow) > window {
				t.Errorf("%d bytes unread, in %d of memory, with a window of %d", st.in.unread, st.in.held, st.recvWindow)
			}
		}
		if held != s.held || held > s.budget {
			t.Errorf("%d bytes are held, %d counted", held, s.held)
		}
		s.mu.Unlock()
		s.Close(0, "")
	})
}

// feedUntil feeds p until done is closed.
func (f *fed) feedUntil(p []byte, done <-chan struct{}) {
	for _, p := range [][]byte{p, nil} {
		select {
		case f.food <- p:
		case <-f.gone:
		case <-done:
		}
	}
}
