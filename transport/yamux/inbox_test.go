package yamux

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

func dataFrame(flags uint16, id uint32, body string) []byte {
	return append(newHeader(typeData, flags, id, uint32(len(body))), body...)
}

// A part is what a peer says in one go.
type part struct {
	header header // nil: it is body
	id     uint32
	body   []byte
}

func (p part) String() string {
	if p.header != nil {
		return fmt.Sprintf("%x", []byte(p.header))
	}
	return fmt.Sprintf("%d:%q", p.id, p.body)
}

// said returns what frames say, which is the same wherever Data frames are cut.
// FIN comes after the bytes that it came with. Whole is how many bytes end with
// a whole frame.
func said(frames []byte) (parts []part, whole int) {
	for len(frames)-whole >= headerSize {
		h := slices.Clone(header(frames[whole:][:headerSize]))
		size := int(h.body())
		if len(frames)-whole-headerSize < size {
			break
		}
		body := frames[whole+headerSize:][:size]
		whole += headerSize + size
		parts = appendFrame(parts, h, body)
	}
	return parts, whole
}

func appendFrame(parts []part, h header, body []byte) []part {
	if h.typ() != typeData {
		return append(parts, part{header: h})
	}
	for _, flags := range []uint16{h.flags() &^ flagFIN, h.flags() & flagFIN} {
		if flags != 0 {
			parts = append(parts, part{header: newHeader(typeData, flags, h.id(), 0)})
		}
		if n := len(parts) - 1; n >= 0 && parts[n].header == nil && parts[n].id == h.id() {
			parts[n].body = append(parts[n].body, body...)
		} else if len(body) > 0 {
			parts = append(parts, part{id: h.id(), body: slices.Clone(body)})
		}
		body = nil
	}
	return parts
}

func saidAll(t *testing.T, frames []byte) string {
	t.Helper()
	parts, whole := said(frames)
	if whole != len(frames) {
		t.Errorf("%d bytes are half a frame", len(frames)-whole)
	}
	return fmt.Sprint(parts)
}

// watched is a connection that calls back before it reads.
type watched struct {
	io.Reader
	came []byte
	look func(came []byte)
}

func (r *watched) Read(p []byte) (int, error) {
	r.look(r.came)
	n, err := r.Reader.Read(p)
	r.came = append(r.came, p[:n]...)
	return n, err
}

// bodySize is how many bytes of bodies there are in frames, the last of which
// need not be whole.
func bodySize(frames []byte) (n int) {
	for len(frames) >= headerSize {
		size := min(int(header(frames).body()), len(frames)-headerSize)
		n += size
		frames = frames[headerSize+size:]
	}
	return n
}

// While the wire waits for the connection, yamux has all that came, and no
// frame that is not whole: it would hold the stream's lock until it is.
func TestInboxHandsOverWholePieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	in := frames(20, rng)
	for size := 1; size < len(in); size += 1 + rng.IntN(size) {
		var got []byte
		looked, bodies := 0, 0
		w := cannedWire(&watched{Reader: &pieces{in, size}, look: func(came []byte) {
			if _, whole := said(got[looked:]); looked+whole != len(got) {
				t.Fatalf("by %d: after %d bytes, yamux has %d of a frame", size, len(came), len(got)-looked-whole)
			}
			bodies += bodySize(got[looked:])
			looked = len(got)
			if want := bodySize(came); bodies != want {
				t.Fatalf("by %d: after %d bytes, yamux has %d of bodies, want %d", size, len(came), bodies, want)
			}
		}})
		p := make([]byte, 4096)
		for err := error(nil); err == nil; {
			var n int
			n, err = w.Read(p[:1+rng.IntN(len(p))])
			got = append(got, p[:n]...)
		}
		if saidAll(t, got) != saidAll(t, in) {
			t.Fatalf("by %d: yamux is told something else", size)
		}
	}
}

// What the flags of a Data frame say is said once, and in its time: that a
// stream begins, or is reset, before its body, and that it ends after.
func TestInboxFlags(t *testing.T) {
	concat := func(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
	for _, test := range []struct {
		name     string
		in, want []byte // cut in the middle of the body
	}{
		{"none", dataFrame(0, 2, "abcd"), concat(dataFrame(0, 2, "ab"), dataFrame(0, 2, "cd"))},
		{"SYN", dataFrame(flagSYN, 2, "abcd"), concat(dataFrame(flagSYN, 2, "ab"), dataFrame(0, 2, "cd"))},
		{"ACK", dataFrame(flagACK, 2, "abcd"), concat(dataFrame(flagACK, 2, "ab"), dataFrame(0, 2, "cd"))},
		{"FIN", dataFrame(flagFIN, 2, "abcd"), concat(dataFrame(0, 2, "ab"), dataFrame(0, 2, "cd"), dataFrame(flagFIN, 2, ""))},
		{"SYN and FIN", dataFrame(flagSYN|flagFIN, 2, "abcd"), concat(dataFrame(flagSYN, 2, "ab"), dataFrame(0, 2, "cd"), dataFrame(flagFIN, 2, ""))},
		{"RST", dataFrame(flagRST, 2, "abcd"), dataFrame(flagRST, 2, "")}, // nobody could read the body
	} {
		t.Run(test.name, func(t *testing.T) {
			const cut = headerSize + 2
			w := cannedWire(io.MultiReader(bytes.NewReader(test.in[:cut]), bytes.NewReader(test.in[cut:])))
			if got, err := io.ReadAll(w); err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("got  %q, %v\nwant %q", got, err, test.want)
			}
			got, err := io.ReadAll(cannedWire(bytes.NewReader(test.in)))
			if got, want := saidAll(t, got), saidAll(t, test.want); err != nil || got != want {
				t.Errorf("without the cut: got %s, %v, want %s", got, err, want)
			}
		})
	}
}

// endless is one frame over and over, size bytes at a time.
type endless struct {
	frame []byte
	at    int
	size  int
}

func (r *endless) Read(p []byte) (n int, err error) {
	for p = p[:min(r.size, len(p))]; n < len(p); r.at %= len(r.frame) {
		m := copy(p[n:], r.frame[r.at:])
		n, r.at = n+m, r.at+m
	}
	return n, nil
}

func TestInboxAllocatesNothing(t *testing.T) {
	for _, size := range []int{100, 1 << 10, 10 << 10, 100 << 10} {
		w := cannedWire(&endless{frame: dataFrame(0, 2, string(make([]byte, 5000))), size: size})
		p := make([]byte, 4096)
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := w.Read(p); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("reading %d bytes at a time: %v allocations", size, n)
		}
	}
}

// A fed is a connection on which comes in what the test feeds it.
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

// feed returns when yamux has taken all of p that it can: when it wants more.
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

func (f *fed) Write(p []byte) (int, error) { return len(p), nil }

// A fedSession is the session of that connection alone.
type fedSession struct {
	transport.Session
	conn *fed
}

func (s fedSession) Close(uint64, string) error {
	s.conn.close()
	return nil
}

// recorded is what the library sends, as it comes, from an end that opens a few
// streams and writes to them in turns.
func recorded(t *testing.T) []byte {
	t.Helper()
	here, there := net.Pipe()
	var sent bytes.Buffer
	client, err := yamux.Client(recorder{here, &sent}, config)
	if err != nil {
		t.Fatal(err)
	}
	server, err := yamux.Server(there, config)
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
	return sent.Bytes() // nobody writes to it any more
}

type recorder struct {
	net.Conn
	sent *bytes.Buffer
}

func (r recorder) Write(p []byte) (int, error) {
	r.sent.Write(p)
	return r.Conn.Write(p)
}

// Wherever the bytes of a conversation pause, each stream can be accepted from
// its header on, and read up to the last byte that came; and in the end, there
// is no difference.
func TestPauseAnywhere(t *testing.T) {
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
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn := newFed()
	s := newSession(fedSession{conn: conn}, conn, server)
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
			accepted[st.(*stream).inner.StreamID()] = st
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

// bodies returns what frames, the last of which need not be whole, carry on
// each stream.
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
