package liveness

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/transport"
)

// A state is the state of one session or stream, from the grant of its lease to its end.
// Its phase only moves forward:
//
//	open ───► draining ───► closing ───► closed
//	  └──────────────────────►┘
//
// Only end leads to closing. If it is called more than once, the first reason counts.
type state struct {
	cfg      *Config
	policy   atomic.Pointer[connPolicy] // nil: judged only through its session's lease
	parent   *state                     // a stream's session; nil for a session
	owner    owner
	id       uint64
	began    time.Duration // on the engine's clock
	phase    atomic.Uint32
	refs     atomic.Int32 // the Closed event is due at 0; held by the Opened event, closing, and each stream
	firstEnd atomic.Int32 // 1 + the Initiator whose data ended first; 0: none yet; of a session: on its latest stream
	lease    Lease        // granted only if there is a policy

	pending atomic.Pointer[ending]       // the error to end with, if nothing ends it before
	ended   atomic.Pointer[ending]       // how it ended; set before anything is closed
	signals atomic.Pointer[phaseSignals] // made on first use

	next, prev *state // links of the server's list

	beats, in, out atomic.Int64
	rtt            atomic.Int64
}

// The phases of a state.
const (
	open     = uint32(iota)
	draining // one end is going away and lets the other finish
	closing  // the reason is stored; Read and Write fail
	closed   // everything was sent, and the Closed event was emitted
)

// An owner has a state. It is a Conn or a multiSession.
type owner interface {
	addrs() (local, remote net.Addr)
	lastHeard() (ago time.Duration, sure, ok bool) // see subject.Heard

	// preparePolicy sets the transport up for p. It returns the interval at which to
	// sample the transport for answers; 0: never.
	preparePolicy(p Policy) time.Duration
	tcpSocket() *tcpSocket
	counters() *counters                      // nil: not counted
	probe() bool                              // see subject.Probe
	pingable() (since time.Duration, ok bool) // how long a ping has been possible again; not ok: always was
	drain()                                   // asks the peer to finish
	session() transport.Session               // nil: none
	transportConn() any                       // the stream or session of the transport
	teardown(*ending)                         // closes the stream or the session
	released()                                // called after the Closed event
}

// An ending is an Error, with what only closing needs to know.
type ending struct {
	Error
	missed      time.Time // the deadline that has passed; zero: none
	async       bool      // the caller of end must not wait for the teardown
	ofSession   bool      // a stream ends because its session does
	abrupt      bool      // no linger: the peer is not waited for
	fromPeer    bool      // the peer closed; it needs no Close frame
	hookRunning bool      // BeforeClose's function was called; no other reason replaces this one
}

// endingFrom returns the ending for an error of the transport or the codec.
func endingFrom(e *Error) ending { return ending{Error: *e, fromPeer: e.Initiator == Peer} }

// whole reports whether this end's data is complete.
func (e *ending) whole() bool { return e.Reason == Done || e.Reason == PeerClosed }

// ofStream converts a session's ending to that of one of its streams.
func (e *ending) ofStream() ending {
	return ending{Error: e.Error, ofSession: true, abrupt: e.abrupt}
}

var lastID [2]atomic.Uint64 // by kind

// begin grants the lease. It returns false for a stream whose session has been reported
// closed. It calls no method of the stream and no callback: see announce.
func (s *state) begin() bool {
	if s.parent != nil && !s.parent.addRef() {
		return false
	}
	s.refs.Store(2)
	s.id = lastID[s.kind()].Add(1)
	s.began = s.cfg.engine().time()
	if l := s.owner.counters(); l != nil {
		l.opened()
	}
	if s.hasLease() {
		s.cfg.engine().grant(&s.lease, s)
	}
	return true
}

// announce emits the Opened event, and the Closed event if that is due already. It may
// block in RemoteAddr or in Events, so it runs on the connection's own goroutine.
func (s *state) announce() {
	if s.cfg.Events != nil {
		s.cfg.emit(s.event(Opened))
	}
	s.dropRef()
}

// announceThen calls announce, then next. It does not wait for them if they may block.
func (s *state) announceThen(next func()) {
	if s.cfg.Events == nil {
		s.announce()
		next()
		return
	}
	go func() {
		s.announce()
		next()
	}()
}

// addRef delays the Closed event until dropRef is called. It returns false if that event
// was emitted already.
func (s *state) addRef() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// dropRef emits the Closed event when it drops the last reference.
func (s *state) dropRef() {
	if s.refs.Add(-1) > 0 {
		return
	}
	s.report(s.ended.Load())
	s.reach(closed)
	s.owner.released()
	if s.parent != nil {
		s.parent.dropRef()
	}
}

func (s *state) kind() Kind {
	if s.parent != nil {
		return KindStream
	}
	return KindSession
}

// age returns the time since begin.
func (s *state) age() time.Duration { return s.cfg.engine().time() - s.began }

// reach moves the phase forward to p, never back.
func (s *state) reach(p uint32) {
	for {
		was := s.phase.Load()
		if was >= p {
			return
		}
		if s.phase.CompareAndSwap(was, p) {
			break
		}
	}
	// signal stores the channels before it reads the phase, so one of the two sees the other.
	if w := s.signals.Load(); w != nil {
		w.reached(p)
	}
}

// phaseSignals are the channels behind Draining and Done.
type phaseSignals struct{ draining, closed latch }

// A latch is a channel that is closed once.
type latch struct {
	once sync.Once
	c    chan struct{}
}

func newLatch() *latch { return &latch{c: make(chan struct{})} }

func (l *latch) open() { l.once.Do(func() { close(l.c) }) }

// reached opens the latches of phase p and of the phases before it.
func (w *phaseSignals) reached(p uint32) {
	if p >= draining {
		w.draining.open()
	}
	if p >= closed {
		w.closed.open()
	}
}

// signal returns the signals, and makes them on first use.
func (s *state) signal() *phaseSignals {
	w := s.signals.Load()
	if w == nil {
		w = &phaseSignals{latch{c: make(chan struct{})}, latch{c: make(chan struct{})}}
		if !s.signals.CompareAndSwap(nil, w) {
			w = s.signals.Load()
		}
	}
	w.reached(s.phase.Load())
	return w
}

func (s *state) awaitClosed() {
	if s.phase.Load() < closed {
		<-s.signal().closed.c
	}
}

func (s *state) stats() SessionStats {
	return SessionStats{
		Age: s.age(), Silence: s.silence(), Deadline: s.deadline(), RTT: time.Duration(s.rtt.Load()),
		Beats: s.beats.Load(), BytesIn: s.in.Load(), BytesOut: s.out.Load(),
	}
}

func (s *state) event(what EventKind) Event {
	e := Event{What: what, ID: s.id, Kind: s.kind(), SessionStats: s.stats()}
	e.Local, e.Remote = s.owner.addrs()
	if s.parent != nil {
		e.Session = s.parent.id
	}
	if s.hasLease() {
		e.Policy = describe(s.policy.Load())
	}
	return e
}

// usePolicy stores the policy and prepares the transport for it.
func (s *state) usePolicy(p *connPolicy) {
	if sample := s.owner.preparePolicy(p.Policy); sample != p.sample {
		p = &connPolicy{p.Policy, p.opening, sample}
	}
	s.policy.Store(p)
}

// setPolicy changes the policy. It fails for a state that has none.
func (s *state) setPolicy(p Policy) error {
	was := s.policy.Load()
	if p == nil || was == nil {
		return ErrNoPolicy
	}
	if err := s.cfg.checkAcks(p); err != nil {
		return err
	}
	c, ok := s.owner.(*Conn)
	if ok { // its socket is set for the policy that it keeps
		c.deadlines.Lock()
		defer c.deadlines.Unlock()
	}
	s.usePolicy(&connPolicy{Policy: p, opening: was.opening})
	asked := s.policy.Load().sample > 0 || ok && c.bits.Load()&acksAreEvidence != 0
	if asked && s.in.Load() > 0 {
		s.lease.Renew() // until now its stack was asked less often than p requires
	}
	s.lease.rejudge()
	return nil
}

// describe is a policy's name.
func describe(p Policy) string { return fmt.Sprint(p) }

// deadline returns when the state ends if the peer is not heard again, its session's
// deadline included; zero: never.
func (s *state) deadline() (first time.Time) {
	for ; s != nil; s = s.parent {
		if !s.hasLease() {
			continue
		}
		if d := s.lease.Deadline(); first.IsZero() || !d.IsZero() && d.Before(first) {
			first = d
		}
	}
	return first
}

// endError returns why the state ended; nil if it is open.
func (s *state) endError() *Error {
	if e := s.ended.Load(); e != nil {
		return &e.Error
	}
	return nil
}

// hasLease reports whether the state is judged by itself, not only through its session.
func (s *state) hasLease() bool { return s.policy.Load() != nil }

// renew renews the lease of this state and of its session.
func (s *state) renew() {
	for ; s != nil; s = s.parent {
		if s.hasLease() {
			s.lease.Renew()
		}
	}
}

// addIn, addOut and addBeats count for this state and its session.

func (s *state) addIn(n int) {
	for ; s != nil; s = s.parent {
		s.in.Add(int64(n))
	}
}

func (s *state) addOut(n int) {
	for ; s != nil; s = s.parent {
		s.out.Add(int64(n))
	}
}

func (s *state) addBeats(n int) {
	for ; s != nil; s = s.parent {
		s.beats.Add(int64(n))
	}
}

func (s *state) setRTT(rtt time.Duration) {
	for ; s != nil; s = s.parent {
		s.rtt.Store(int64(rtt))
	}
}

// silence returns the time since the peer was last heard.
func (s *state) silence() time.Duration {
	switch {
	case s.hasLease():
		return s.lease.silence()
	case s.parent != nil:
		return min(s.parent.silence(), s.age())
	}
	return 0
}

// dataEnded records that one end's data has ended, and returns whose ended first: the
// initiator of a normal end.
func (s *state) dataEnded(by Initiator) (first Initiator) {
	if s.firstEnd.CompareAndSwap(0, int32(by)+1) && s.parent != nil {
		s.parent.firstEnd.Store(int32(by) + 1)
	}
	return Initiator(s.firstEnd.Load() - 1)
}

// setPending stores e as the pending error, with which finish ends the state. The first one
// stays, except that a reason which the peer names replaces one that was only observed. It
// returns the one that is stored.
func (s *state) setPending(e ending) *ending {
	e.Age, e.Silence = s.age(), s.silence()
	for {
		was := s.pending.Load()
		if was != nil && (e.Initiator != Peer || e.Reason.observed() || !was.Reason.observed()) {
			return was
		}
		if s.pending.CompareAndSwap(was, &e) {
			return &e
		}
	}
}

// finish ends the state with the pending error, or for [Done] if there is none.
func (s *state) finish() bool {
	e := ending{Error: Error{Reason: Done}}
	if p := s.pending.Load(); p != nil {
		e = *p
	}
	return s.end(e)
}

// fail ends the state for an error of the transport or the codec. It returns how the state
// ended, which may be an earlier error.
func (s *state) fail(e *Error) *Error {
	s.end(endingFrom(e))
	return &s.ended.Load().Error
}

// end ends the state. It returns false if the state has ended before. It does not wait for
// the peer.
func (s *state) end(e ending) bool {
	if s.ended.Load() != nil {
		return false
	}
	if p := s.pending.Load(); p != nil && p.hookRunning {
		e = *p
	}
	if e.missed.IsZero() || e.ofSession { // else they are the verdict's
		e.Age, e.Silence = s.age(), s.silence()
	}
	if e.Reason == Done {
		e.Initiator = s.dataEnded(e.Initiator)
	}
	if !s.ended.CompareAndSwap(nil, &e) {
		return false
	}
	s.reach(closing)
	if s.hasLease() {
		s.lease.Release()
	}
	if s.rtt.Load() == 0 {
		if rtt, ok := s.owner.tcpSocket().rtt(); ok {
			s.rtt.Store(int64(rtt))
		}
	}
	s.owner.teardown(&e)
	s.dropRef()
	return true
}

// report counts the end and emits the Closed event.
func (s *state) report(e *ending) {
	if l := s.owner.counters(); l != nil {
		l.closed(&e.Error)
	}
	if s.cfg.Events == nil {
		if e.Reason == Internal && e.Initiator == Local && e.Err != nil {
			s.logFailure(e.Err)
		}
		return
	}
	ev := s.event(Closed)
	ev.End = &e.Error
	if !e.missed.IsZero() && !e.ofSession {
		ev.Late = time.Since(e.missed)
	}
	s.cfg.emit(ev)
}
