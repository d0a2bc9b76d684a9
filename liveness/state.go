package liveness

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/transport"
)

// A state is that of one session or stream, from its grant to its one end. It only
// moves forward:
//
//	open ───► draining ───► closing ───► closed
//	  └──────────────────────►┘
//
// Whoever wants to end it calls end. The first caller's reason is the reason.
type state struct {
	cfg      *Config
	policy   atomic.Pointer[connPolicy] // nil: the parent's lease answers for this one, too
	parent   *state                     // of a stream: its session
	owner    owner
	id       uint64
	began    time.Duration // on the engine's clock
	phase    atomic.Uint32
	refs     atomic.Int32 // what the Closed event waits for: its Opened event, closing, a session's streams
	firstEnd atomic.Int32 // whose data ended first, plus 1; of a session, on the latest stream; 0: nobody's has
	lease    Lease        // granted if there is a policy

	pending atomic.Pointer[ending]       // the first sign of why it will end
	ended   atomic.Pointer[ending]       // why it ends; set before anything is closed
	signals atomic.Pointer[phaseSignals] // made for those who wait for a phase

	next, prev *state // in its server's list

	beats, in, out atomic.Int64
	rtt            atomic.Int64
}

// The phases of a state.
const (
	open     = uint32(iota)
	draining // one end is going away, and lets the other finish
	closing  // a reason stands; the application's calls fail
	closed   // this end has sent all that it had to send, and the end was reported
)

// An owner is what has a state: a Conn, or a session of several streams.
type owner interface {
	addrs() (local, remote net.Addr)
	lastHeard() (ago time.Duration, sure, ok bool) // see subject.Heard

	// judgedBy prepares the transport for p, and returns how often it is to be sampled.
	preparePolicy(p Policy) time.Duration
	tcpSocket() *tcpSocket
	counters() *counters                      // nil: nobody counts
	probe() bool                              // asks the peer for a sign of life
	pingable() (since time.Duration, ok bool) // how long a Ping has been possible again; not ok: it always was
	drain()                                   // asks the peer to finish
	session() transport.Session               // nil: there is none
	transportConn() any                       // what carries it
	teardown(*ending)                         // closes the stream, or the session
	released()                                // the end was reported
}

// An ending is how a state ends: what the application is told of it, and what only
// closing needs.
type ending struct {
	Error
	missed      time.Time // the deadline that the engine found missed; zero: none
	byEngine    bool      // the engine waits for closing, and others for the engine
	ofSession   bool      // the session's end, which is this stream's as well
	abrupt      bool      // the peer isn't waited for
	fromPeer    bool      // the peer has said so, and waits for no Close frame
	hookRunning bool      // BeforeClose's function is called for it: it ends so, and not otherwise
}

// endingFrom is an ending by e, which the transport or the codec has found.
func endingFrom(e *Error) ending { return ending{Error: *e, fromPeer: e.Initiator == Peer} }

// whole reports whether the application's data is complete in this direction.
func (e *ending) whole() bool { return e.Reason == Done || e.Reason == PeerClosed }

// ofStream is e as the end of one of the session's streams, which has an age of its
// own.
func (e *ending) ofStream() ending {
	return ending{Error: e.Error, ofSession: true, abrupt: e.abrupt}
}

var lastID [2]atomic.Uint64 // by kind

// begin grants the lease. It calls nothing of the stream's or the application's: see
// announce. False: it is a stream, and the end of its session has been reported.
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

// announce emits the Opened event, and the Closed event if that has become due. The
// stream's addresses and Events may block, so it is called on a goroutine of the
// connection's own.
func (s *state) announce() {
	if s.cfg.Events != nil {
		s.cfg.emit(s.event(Opened))
	}
	s.dropRef()
}

// announceThen calls announce and next, without waiting for them if they may block.
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

// addRef puts the Closed event off until settle is called. False: it was emitted.
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

// dropRef reports the end when the last thing that it waited for has happened.
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

// kind is a stream's if it has a session.
func (s *state) kind() Kind {
	if s.parent != nil {
		return KindStream
	}
	return KindSession
}

// age is how long ago it began.
func (s *state) age() time.Duration { return s.cfg.engine().time() - s.began }

// reach moves on to phase p, unless it is further already.
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
	// Whoever waits stores the signals before it looks at the phase.
	if w := s.signals.Load(); w != nil {
		w.reached(p)
	}
}

// phaseSignals are made only when somebody waits for a phase.
type phaseSignals struct{ draining, closed latch }

// A latch is a channel that is closed once.
type latch struct {
	once sync.Once
	c    chan struct{}
}

func newLatch() *latch { return &latch{c: make(chan struct{})} }

func (l *latch) open() { l.once.Do(func() { close(l.c) }) }

// reached opens the latches of phase p and of those before.
func (w *phaseSignals) reached(p uint32) {
	if p >= draining {
		w.draining.open()
	}
	if p >= closed {
		w.closed.open()
	}
}

// signal returns the signals, of which those that are due are open.
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

// awaitClosed waits for the last phase.
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

// usePolicy sets the policy.
func (s *state) usePolicy(p *connPolicy) {
	if sample := s.owner.preparePolicy(p.Policy); sample != p.sample {
		p = &connPolicy{p.Policy, p.opening, sample}
	}
	s.policy.Store(p)
}

// setPolicy changes the policy of a state that has one.
func (s *state) setPolicy(p Policy) error {
	was := s.policy.Load()
	if p == nil || was == nil {
		return ErrNoPolicy
	}
	if err := s.cfg.checkAcks(p); err != nil {
		return err
	}
	s.usePolicy(&connPolicy{Policy: p, opening: was.opening})
	s.lease.rejudge()
	return nil
}

// describe is a policy's name.
func describe(p Policy) string { return fmt.Sprint(p) }

// deadline is when the state ends if the peer is not heard again; zero if it does not.
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

// endError is why the state ended, or nil.
func (s *state) endError() *Error {
	if e := s.ended.Load(); e != nil {
		return &e.Error
	}
	return nil
}

// hasLease reports whether the state has a lease of its own.
func (s *state) hasLease() bool { return s.policy.Load() != nil }

// renew records evidence: for this state, and for the session that carries it.
func (s *state) renew() {
	for ; s != nil; s = s.parent {
		if s.hasLease() {
			s.lease.Renew()
		}
	}
}

// addIn, addOut and addBeats count, for this state and the session that carries it.

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

// silence is how long the peer has not been heard.
func (s *state) silence() time.Duration {
	switch {
	case s.hasLease():
		return s.lease.Silence()
	case s.parent != nil:
		return min(s.parent.silence(), s.age())
	}
	return 0
}

// dataEnded records whose data has ended, and returns whose ended first: of a normal
// end that is the initiator.
func (s *state) dataEnded(by Initiator) (first Initiator) {
	if s.firstEnd.CompareAndSwap(0, int32(by)+1) && s.parent != nil {
		s.parent.firstEnd.Store(int32(by) + 1)
	}
	return Initiator(s.firstEnd.Load() - 1)
}

// setPending keeps the first sign of why this will end, for the moment when its owner
// closes it; but what the peer says of it stands above what was observed before. It
// returns the sign that is kept.
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

// finish ends the state for the pending reason, or because its owner has done.
func (s *state) finish() bool {
	e := ending{Error: Error{Reason: Done}}
	if p := s.pending.Load(); p != nil {
		e = *p
	}
	return s.end(e)
}

// fail ends the state for what the transport or the codec said, and returns how it
// ended.
func (s *state) fail(e *Error) *Error {
	s.end(endingFrom(e))
	return &s.ended.Load().Error
}

// end ends the state, unless it has ended already. It does not wait for the peer.
func (s *state) end(e ending) bool {
	if s.ended.Load() != nil {
		return false
	}
	if p := s.pending.Load(); p != nil && p.hookRunning {
		e = *p
	}
	if e.missed.IsZero() || e.ofSession { // otherwise the engine gave the figures with its verdict
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

// A state is the subject of its lease.

func (s *state) Policy() Policy { return s.policy.Load() }

func (s *state) Heard() (ago time.Duration, sure, ok bool) {
	ago, sure, ok = s.owner.lastHeard()
	if since, limited := s.owner.pingable(); limited && (!ok || since < ago) {
		return since, sure, true
	}
	return ago, sure, ok
}

// Arrived does not date what the application has heard: the kernel knows only of the
// connection.
func (s *state) Arrived() (time.Duration, bool) {
	if c, ok := s.owner.(*Conn); ok && c.bits.Load()&renewedByApp != 0 {
		return 0, false
	}
	return s.owner.tcpSocket().lastData()
}

func (s *state) Probe() bool { return s.owner.probe() }

func (s *state) Expire(x expiry) {
	if p := s.pending.Load(); x.Reason == Silent && p != nil && p.Initiator == Peer && p.Reason != PeerClosed {
		// It has said why, or has reset the connection, and its silence since is
		// nothing new. (An EOF alone may be half an end.)
		e := *p
		e.abrupt, e.byEngine = true, true
		s.end(e)
		return
	}
	// Heard last, it may have taken a little more since.
	if x.Reason == Silent && s.owner.tcpSocket().zeroWindowFor(x.Silence/2) {
		x.Reason = TooSlow
	}
	s.endAfterHook(ending{
		Error:  Error{Reason: x.Reason, Age: x.Age, Silence: x.Silence, Late: x.Late},
		missed: x.Deadline, byEngine: true, abrupt: x.Reason.abrupt(),
	})
}

// A list is of the states of a server's sessions. It lies in them: there may be a
// great many.
type list struct {
	first *state
	n     int
}

func (l *list) add(s *state) {
	if s.next = l.first; s.next != nil {
		s.next.prev = s
	}
	l.first = s
	l.n++
}

func (l *list) remove(s *state) {
	if s.next != nil {
		s.next.prev = s.prev
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	s.next, s.prev = nil, nil
	l.n--
}

func (l *list) all() []*state {
	all := make([]*state, 0, l.n)
	for s := l.first; s != nil; s = s.next {
		all = append(all, s)
	}
	return all
}
