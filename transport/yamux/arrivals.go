package yamux

import (
	"sync"

	"github.com/livenet/livenet/transport"
)

// Arrivals are what yamux has of a stream's input, as counted by the wire, and
// who is to be woken for it: yamux can't be asked whether a Read would wait.
type arrivals struct {
	mu     sync.Mutex
	unread int  // bytes; less than none while some that were read are yet to be counted
	over   bool // and there is an error, or an EOF, to read after them
	waker  transport.Waker
}

// came is called when yamux has been given n bytes, or knows of the end.
func (a *arrivals) came(n int, over bool) {
	a.mu.Lock()
	a.unread += n
	a.over = a.over || over
	w := a.due()
	a.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// went is called when n bytes were read.
func (a *arrivals) went(n int) {
	a.mu.Lock()
	a.unread -= n
	a.mu.Unlock()
}

// readable reports whether Read would not wait.
func (a *arrivals) readable() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.over || a.unread > 0
}

// wake has w woken as soon as the stream is readable.
func (a *arrivals) wake(w transport.Waker) {
	a.mu.Lock()
	a.waker = w
	w = a.due()
	a.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// due takes whoever is to be woken now. The lock is held.
func (a *arrivals) due() (w transport.Waker) {
	if a.over || a.unread > 0 {
		w, a.waker = a.waker, nil
	}
	return w
}

// Coming is what yamux is given of a stream's input while it reads. The bytes
// belong to whoever reads, and the rest to the table.
type coming struct {
	listed bool
	next   *entry
	bytes  int
}

// comes puts e on the list of those for which something is coming. The lock is
// held.
func (t *table) comes(e *entry) {
	t.newest = e
	if !e.coming.listed {
		e.coming.listed, e.coming.next = true, t.coming
		t.coming = e
	}
}

// announced says how many bytes are coming with the header that was received
// last.
func (t *table) announced(n int) {
	if t.newest != nil {
		t.newest.coming.bytes += n
	}
}

// came is called when yamux is done with all that it was given.
func (t *table) came() {
	for e, over := t.next(); e != nil; e, over = t.next() {
		n := e.coming.bytes
		e.coming.bytes = 0
		e.arrivals.came(n, over)
	}
}

// next takes an entry off that list, and says whether its input is over.
func (t *table) next() (e *entry, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e = t.coming; e == nil {
		return nil, false
	}
	t.coming = e.coming.next
	e.coming.listed, e.coming.next = false, nil
	return e, e.finIn || e.resetIn
}
