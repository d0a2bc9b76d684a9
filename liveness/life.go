package liveness

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// A life is one session or stream from its grant to its one end. Whoever wants
// to end it calls end; the first caller's reason is the reason.
type life struct {
	cfg     *Config
	policy  Policy  // nil: the parent's lease answers for this one, too
	parent  *life   // of a stream: its session
	ledger  *ledger // nil: nobody counts
	holder  holder
	id      uint64
	began   time.Duration // on the engine's clock
	kind    Kind
	vouched atomic.Bool // the application has heard of the peer in a way of its own
	lease   Lease       // granted if there is a policy

	noted  atomic.Pointer[Error] // the first sign of why it will end
	ended  atomic.Pointer[Error]
	stages stages // of its ending

	next, prev *life // in its server's list

	beats, in, out atomic.Int64
	rtt            atomic.Int64
}

// A holder is what lives: it knows how to ask its peer, and how to end.
type holder interface {
	addrs() (local, remote net.Addr)
	witness() *witness
	probe() bool
	unasked() (ago time.Duration, ok bool) // it could not ask until then, and is to judge nobody for not having answered
	hasSaid() bool                         // the reason, to the peer
	drain()                                // tell the peer that this end is going away, and let it finish
	shut(*Error)
	ended() // it has, and that has been told
}

var lastID atomic.Uint64

// begin grants the lease.
func (l *life) begin() {
	l.id = lastID.Add(1)
	l.began = l.cfg.engine().time()
	if l.ledger != nil {
		l.ledger.opened()
	}
	if l.cfg.Events != nil {
		l.cfg.emit(l.event(Opened))
	}
	if l.policy != nil {
		l.cfg.engine().grant(&l.lease, l)
	}
}

// age is how long it has lived.
func (l *life) age() time.Duration { return l.cfg.engine().time() - l.began }

func (l *life) event(what EventKind) Event {
	e := Event{
		What: what, ID: l.id, Kind: l.kind,
		Beats: l.beats.Load(), BytesIn: l.in.Load(), BytesOut: l.out.Load(),
		RTT: time.Duration(l.rtt.Load()),
	}
	e.Local, e.Remote = l.holder.addrs()
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
	if l.policy != nil {
		l.lease.Renew()
	}
	if l.parent != nil {
		l.parent.renew()
	}
}

// vouch renews for a sign of life that has not come by the connection, on whose
// arrivals the kernel can be asked.
func (l *life) vouch() {
	l.vouched.Store(true)
	l.renew()
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
	case l.policy != nil:
		return l.lease.Silence()
	case l.parent != nil:
		return min(l.parent.silence(), l.age())
	}
	return 0
}

// note keeps the first sign of why this life will end, for the moment when its
// holder comes to close it; but what the peer says of it stands above what was
// observed before. It returns the sign that is kept.
func (l *life) note(e *Error) *Error {
	e.Age, e.Silence = l.age(), l.silence()
	for {
		old := l.noted.Load()
		if old != nil && (e.Initiator != Peer || e.Reason.observed() || !old.Reason.observed()) {
			return old
		}
		if l.noted.CompareAndSwap(old, e) {
			return e
		}
	}
}

// close ends the life for the reason noted, or because its holder has done.
func (l *life) close() bool {
	e := Error{Reason: Done}
	if noted := l.noted.Load(); noted != nil {
		e = *noted
	}
	e.orderly = true
	return l.end(e)
}

// end ends the life, unless it has ended already.
func (l *life) end(e Error) bool {
	if l.ended.Load() != nil {
		return false
	}
	if said := l.noted.Load(); e.Reason.expiry() && e.Initiator == Local && said != nil && said.Initiator == Local && l.holder.hasSaid() {
		// The peer knows a reason by now: that this end is going away. How it ends is as
		// if its time had not been up.
		e = Error{Reason: said.Reason, vanished: e.vanished || e.Reason.abrupt()}
	}
	if !e.expired() {
		e.Age, e.Silence = l.age(), l.silence()
	}
	if !l.ended.CompareAndSwap(nil, &e) {
		return false
	}
	if l.policy != nil {
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
	l.stages.reach(isShut)
	l.tell(&e)
	l.stages.reach(isTold)
	l.holder.ended()
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

func (l *life) Heard() (ago time.Duration, sure, ok bool) {
	ago, sure, ok = l.holder.witness().heard(l.cfg.Evidence, l.in.Load() > 0)
	if since, was := l.holder.unasked(); was && (!ok || since < ago) {
		return since, sure, true
	}
	return ago, sure, ok
}

func (l *life) Arrived() (time.Duration, bool) {
	if l.vouched.Load() {
		return 0, false
	}
	return l.holder.witness().arrived()
}

func (l *life) Probe() bool { return l.holder.probe() }

func (l *life) Expire(x Expiry) {
	if said := l.noted.Load(); x.Reason == Silent && said != nil && said.Initiator == Peer && said.Reason != PeerClosed {
		// It has said why, or has reset the connection, and its silence since is
		// nothing new. (An EOF alone may be half an end.)
		e := *said
		e.vanished = true
		l.end(e)
		return
	}
	l.end(Error{Reason: x.Reason, Age: x.Age, Silence: x.Silence, Late: x.Late, missed: x.Deadline})
}

// lives is a list of sessions. It lies in them: a server may have a great many.
type lives struct {
	first *life
	n     int
}

func (s *lives) add(l *life) {
	if l.next = s.first; l.next != nil {
		l.next.prev = l
	}
	s.first = l
	s.n++
}

func (s *lives) remove(l *life) {
	if l.next != nil {
		l.next.prev = l.prev
	}
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		s.first = l.next
	}
	l.next, l.prev = nil, nil
	s.n--
}

func (s *lives) all() []*life {
	all := make([]*life, 0, s.n)
	for l := s.first; l != nil; l = l.next {
		all = append(all, l)
	}
	return all
}
