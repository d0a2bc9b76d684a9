package yamux

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/livenet/livenet/transport"
)

const (
	// maxLingering is how many streams may be closed here and still open at the
	// peer. Beyond it the oldest is reset.
	maxLingering = 1024

	// maxUnheard is what a peer may send to a stream after it was closed here.
	// It is also what its window has room for at least, at that time; so a peer
	// that goes on always comes to the reset, and is not stuck before.
	maxUnheard = window / 2
)

// A table holds the streams that are open on the wire, as told by the flags of
// the frames that pass in both directions. It is passive: its methods record
// what passed, and say what has to be done.
type table struct {
	mu        sync.Mutex
	tokens    chan struct{} // see opening; nil if this end has opened none
	streams   map[uint32]*entry
	lingering atomic.Int32 // entries that linger
	oldest    []uint32     // those that linger, or did, by age
	ended     bool         // the session has: no stream is attached any more
	backlog   int          // how many streams of this end's may be unanswered
	accepting accepting

	coming *entry // the first of those for which something is coming
	newest *entry // whose header was received last; nil: nobody's. Whoever reads owns it
}

// An entry is one stream. The table's mutex guards it.
type entry struct {
	stream     *stream // as the application knows it, once it does
	waits      bool    // opened by the peer, and not answered
	unanswered bool    // opened here; a token is to come back
	finIn      bool
	finOut     bool
	resetIn    bool
	coded      bool // the peer's reset carried code
	code       uint64
	resetOut   bool // reset here; yamux is yet to be told
	lingers    bool // closed here: what comes in is dropped
	unheard    uint32

	arrivals arrivals
	coming   coming
}

func newTable() *table {
	return &table{streams: make(map[uint32]*entry), backlog: backlog}
}

// opening holds a token for every stream that this end has opened and the peer
// has not answered. OpenStream puts it in.
func (t *table) opening() chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tokens == nil {
		t.tokens = make(chan struct{}, t.backlog)
	}
	return t.tokens
}

// sent records a header that yamux sends. Hold says that it is an answer, and not
// to be sent before the application has accepted the stream.
func (t *table) sent(h header) (hold bool) {
	if h.flags() == 0 {
		return false // nearly all of them
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	id := h.id()
	if h.has(flagSYN) {
		t.streams[id] = &entry{unanswered: true}
	}
	e := t.streams[id]
	if e == nil {
		return false
	}
	if h.has(flagACK) && e.waits {
		return true
	}
	if h.has(flagFIN) {
		e.finOut = true
	}
	if h.has(flagRST) || e.finIn && e.finOut {
		t.remove(id, e)
	}
	return false
}

// received records a header that comes in. Drop says that the body is for
// nobody, and reset that the stream has had its fill of those.
func (t *table) received(h header) (drop, reset bool) {
	t.newest = nil
	if h.flags() == 0 && h.body() == 0 {
		return false, false // nothing but a window
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	id := h.id()
	e := t.streams[id]
	if e == nil {
		if !h.has(flagSYN) {
			return false, false
		}
		e = &entry{waits: true}
		t.streams[id] = e
	}
	if h.has(flagACK) {
		t.answered(e)
	}
	if h.has(flagFIN) {
		e.finIn = true
	}
	if h.has(flagRST) {
		e.resetIn = true
		e.code, e.coded = codeOf(h.length())
		if e.stream != nil {
			e.stream.resetByPeer()
		}
	}
	if drop = e.lingers && h.body() > 0; drop {
		e.unheard += min(h.body(), maxUnheard) // which cannot overflow, whatever it claims
		reset = e.unheard >= maxUnheard
	}
	t.comes(e)
	t.settle(id, e)
	return drop, reset
}

// settle removes a stream that has ended in both directions, unless the
// application has yet to be given it.
func (t *table) settle(id uint32, e *entry) {
	if e.stream != nil && (e.resetIn || e.finIn && e.finOut) {
		t.remove(id, e)
	}
}

func (t *table) remove(id uint32, e *entry) {
	t.answered(e)
	e.waits = false
	if e.lingers {
		t.lingering.Add(-1)
	}
	delete(t.streams, id)
}

func (t *table) answered(e *entry) {
	if !e.unanswered {
		return
	}
	e.unanswered = false
	select {
	case <-t.tokens:
	default: // not to be, and not to be waited for
	}
}

// attach gives a stream its entry, unless the session has ended.
func (t *table) attach(id uint32, s *stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	s.entry = t.streams[id]
	if s.entry == nil { // it was reset before anybody had it
		s.entry = &entry{arrivals: arrivals{over: true}}
		return true
	}
	s.entry.stream = s
	t.settle(id, s.entry)
	return true
}

// has reports whether a stream of that number is there.
func (t *table) has(id uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.streams[id] != nil
}

// end returns the streams that are to hear of the session's end, and has those
// heard of that had ended before, of which yamux may still be reading.
func (t *table) end() []*stream {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	for e, _ := t.next(); e != nil; e, _ = t.next() {
		e.arrivals.came(0, true)
	}
	return t.attached()
}

// attached returns the streams that the application has.
func (t *table) attached() []*stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*stream
	for _, e := range t.streams {
		if e.stream != nil {
			all = append(all, e.stream)
		}
	}
	return all
}

// linger is for a stream that was closed here, where the peer may not have
// done so, and reports whether that is so. It returns another that has lingered
// for too long, if there is one.
func (t *table) linger(id uint32) (lingers bool, tooLong uint32, found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.streams[id]
	if e == nil || e.lingers {
		return false, 0, false
	}
	e.lingers = true
	t.lingering.Add(1)
	if len(t.oldest) >= 2*maxLingering { // as many again are gone: amortized, this is cheap
		t.oldest = slices.DeleteFunc(t.oldest, func(id uint32) bool { return !t.isLingering(id) })
	}
	t.oldest = append(t.oldest, id)
	for t.lingering.Load() > maxLingering && len(t.oldest) > 0 {
		id, t.oldest = t.oldest[0], t.oldest[1:]
		if t.isLingering(id) {
			return true, id, true
		}
	}
	return true, 0, false
}

func (t *table) isLingering(id uint32) bool {
	e := t.streams[id]
	return e != nil && e.lingers && !e.resetOut
}

// reset reports whether there is a stream to reset.
func (t *table) reset(id uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.streams[id]
	if e == nil || e.resetOut {
		return false
	}
	e.resetOut = true
	return true
}

// forget removes a stream that was reset here, and returns the header that
// makes yamux do so too: the reset that the peer might have sent. It answers
// for the peer as well, if need be, for yamux counts the unanswered ones.
func (t *table) forget(id uint32) header {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.streams[id]
	if e == nil {
		return nil // the peer was faster
	}
	flags := uint16(flagRST)
	if e.unanswered {
		flags |= flagACK
	}
	t.remove(id, e)
	return newHeader(typeWindowUpdate, flags, id, 0)
}

// finished reports whether the peer has ended its half of the stream.
func (t *table) finished(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return e.finIn
}

// wasReset returns how the peer reset the stream, or nil.
func (t *table) wasReset(e *entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !e.resetIn {
		return nil
	}
	return &transport.CloseError{Origin: transport.Peer, Reset: true, Coded: e.coded, Code: e.code}
}
