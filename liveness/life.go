package liveness

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A life is one session or stream from its grant to its one end. Whoever wants
// to end it calls end; the first caller's reason is the reason.
type life struct {
	cfg    *Config
	policy Policy // nil: the parent's lease answers for this one, too
	kind   Kind
	id     uint64
	parent *life   // of a stream: its session
	ledger *ledger // nil: nobody counts
	holder holder

	local, remote net.Addr
	began         time.Time
	lease         *Lease

	noted atomic.Pointer[Error] // the first sign of why it will end
	ended atomic.Pointer[Error]
	cut   sync.WaitGroup // one, until its holder is shut
	over  sync.WaitGroup // one, until that has been told, too

	beats, in, out atomic.Int64
	rtt            atomic.Int64
}

// A holder is what lives: it knows how to ask its peer, and how to end.
type holder interface {
	witness() *witness
	probe()
	shut(*Error)
}

var lastID atomic.Uint64

// begin grants the lease.
func (l *life) begin() {
	l.cut.Add(1)
	l.over.Add(1)
	l.id = lastID.Add(1)
	l.began = time.Now()
	if l.ledger != nil {
		l.ledger.opened()
	}
	if l.cfg.Events != nil {
		l.cfg.emit(l.event(Opened))
	}
	if l.policy != nil {
		l.lease = l.cfg.engine().newLease(l)
		l.cfg.engine().grant(l.lease)
	}
}

func (l *life) event(what EventKind) Event {
	e := Event{
		What: what, ID: l.id, Kind: l.kind,
		Local: l.local, Remote: l.remote,
		Beats: l.beats.Load(), BytesIn: l.in.Load(), BytesOut: l.out.Load(),
		RTT: time.Duration(l.rtt.Load()),
	}
	if l.parent != nil {
		e.Session = l.parent.id
	}
	if l.policy != nil {
		e.Policy = describe(l.policy)
	}
	return e
}

// describe puts a policy in words, without the opening phase that every one
// has.
func describe(p Policy) string {
	if e, ok := p.(*earliest); ok && len(e.policies) == 2 {
		if _, ok := e.policies[1].(within); ok {
			p = e.policies[0]
		}
	}
	return fmt.Sprint(p)
}

// renew records evidence: for this life, and for the session that carries it.
func (l *life) renew() {
	if l.lease != nil {
		l.lease.Renew()
	}
	if l.parent != nil {
		l.parent.renew()
	}
}

// read, wrote and beaten count, for this life and the session that carries it.

func (l *life) read(n int) {
	for ; l != nil; l = l.parent {
		l.in.Add(int64(n))
	}
}

func (l *life) wrote(n int) {
	for ; l != nil; l = l.parent {
		l.out.Add(int64(n))
	}
}

func (l *life) beaten(n int) {
	for ; l != nil; l = l.parent {
		l.beats.Add(int64(n))
	}
}

func (l *life) measured(rtt time.Duration) {
	for ; l != nil; l = l.parent {
		l.rtt.Store(int64(rtt))
	}
}

// silence is how long the peer has not been heard.
func (l *life) silence() time.Duration {
	switch {
	case l.lease != nil:
		return l.lease.Silence()
	case l.parent != nil:
		return min(l.parent.silence(), time.Since(l.began))
	}
	return 0
}

// note keeps the first sign of why this life will end, for the moment when its
// holder comes to close it.
func (l *life) note(e *Error) {
	e.Age, e.Silence = time.Since(l.began), l.silence()
	l.noted.CompareAndSwap(nil, e)
}

// close ends the life for the reason noted, or because its holder has done.
func (l *life) close() bool {
	e := Error{Reason: Done}
	if noted := l.noted.Load(); noted != nil {
		e = *noted
	}
	return l.end(e)
}

// end ends the life, unless it has ended already.
func (l *life) end(e Error) bool {
	if l.ended.Load() != nil {
		return false
	}
	if !e.expired() {
		e.Age, e.Silence = time.Since(l.began), l.silence()
	}
	if !l.ended.CompareAndSwap(nil, &e) {
		return false
	}
	if l.lease != nil {
		l.lease.Release()
	}
	if l.rtt.Load() == 0 {
		if rtt, ok := l.holder.witness().rtt(); ok {
			l.rtt.Store(int64(rtt))
		}
	}
	// The order matters: the reason stands before anything is closed, so that
	// whoever is woken by the closing finds it; and it is counted and told
	// after, so that a closed one is really gone.
	l.holder.shut(&e)
	l.cut.Done()
	l.tell(&e)
	l.over.Done()
	return true
}

func (l *life) tell(e *Error) {
	if l.ledger != nil {
		l.ledger.closed(e.Reason)
	}
	if l.cfg.Events == nil {
		return
	}
	ev := l.event(Closed)
	ev.End = e
	if !e.missed.IsZero() {
		ev.Late = time.Since(e.missed)
	}
	l.cfg.emit(ev)
}

// A life is the subject of its lease.

func (l *life) Policy() Policy { return l.policy }

func (l *life) Heard() (time.Duration, bool) {
	return l.holder.witness().heard(l.cfg.Evidence)
}

func (l *life) Probe() { l.holder.probe() }

func (l *life) Expire(x Expiry) {
	l.end(Error{Reason: x.Reason, Age: x.Age, Silence: x.Silence, Late: x.Late, missed: x.Deadline})
}
