package yamux

import (
	"github.com/hashicorp/yamux"

	"github.com/livenet/livenet/transport"
)

// Accepting is the streams that the peer opened, and who waits for them. The
// table's mutex guards it. The wire takes the streams from yamux as they come,
// whose own queue can then be short and can't be waited for without a goroutine;
// but it holds yamux's answers back until the application accepts, since a peer
// may have so many streams unanswered and no more.
type accepting struct {
	queue []*yamux.Stream
	more  chan struct{} // closed when there is one more; nil: nobody waits
	waker transport.Waker
}

// enqueue reports false if there are too many already.
func (t *table) enqueue(s *yamux.Stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &t.accepting
	if len(a.queue) == backlog {
		return false
	}
	a.queue = append(a.queue, s)
	if a.more != nil {
		close(a.more)
		a.more = nil
	}
	return true
}

// dequeue returns the stream that has waited longest. If there is none, it makes
// the signal that there is, for who wants to wait.
func (t *table) dequeue(wait bool) (s *yamux.Stream, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &t.accepting
	if len(a.queue) == 0 {
		if wait && a.more == nil {
			a.more = make(chan struct{})
		}
		return nil, a.more
	}
	s = a.queue[0]
	a.queue[0] = nil
	if a.queue = a.queue[1:]; len(a.queue) == 0 {
		a.queue = nil
	}
	return s, nil
}

// wakeOnStream has w woken when there is a stream to accept, or never will be.
func (t *table) wakeOnStream(w transport.Waker) {
	t.mu.Lock()
	t.accepting.waker = w
	t.mu.Unlock()
	t.wakeAcceptor()
}

// wakeAcceptor wakes whoever is to be woken, if it is time.
func (t *table) wakeAcceptor() {
	t.mu.Lock()
	var w transport.Waker
	if a := &t.accepting; len(a.queue) > 0 || t.ended {
		w, a.waker = a.waker, nil
	}
	t.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// answer reports whether the peer is to be told that a stream was accepted. That
// does not depend on yamux's answer, which has none for a stream whose opener had
// already ended its half of it.
func (t *table) answer(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	waits := e.waits && !e.resetIn
	e.waits = false
	return waits
}
