package transporttest

import (
	"testing"

	"github.com/livenet/livenet/transport"
)

// Config is a transport under test, and what it can carry. The zero value of
// each capability is the lesser one.
type Config struct {
	// New makes the two ends for one test, and the address to listen on. Both
	// may be one Transport. Whatever outlives its listener and sessions is to
	// be released with t.Cleanup.
	New func(t *testing.T) (server, client transport.Transport, addr string)

	// Multiplexes says that a session carries many streams, opened by either
	// end, and that the peer is told when a session ends. Without it a session
	// is one stream, as [transport.Single] makes it. Session.Multiplexed has to
	// say the same.
	Multiplexes bool

	// Resets says that the peer can tell Stream.Reset from Stream.Close.
	Resets bool

	// SessionCodes says that the code and the text of Session.Close reach the
	// peer.
	SessionCodes bool

	// StreamCodes says that the code of Stream.Reset reaches the peer.
	StreamCodes bool

	// Cut makes the link between the two ends of a session go dead silent, as [Cut]
	// does; nil: there is no way to. Without it a peer that closes its session has to
	// do for one that has gone.
	Cut func(client, server transport.Session)
}

// Run runs the suite, one subtest for each promise. A subtest fails too if it
// leaves a goroutine or, where /proc tells, a descriptor behind; so nothing
// else may run at the same time in the process. Streams that are a
// [transport.Waiter] or [transport.Pollable], and sessions that are a
// [transport.Answerer], are held to that, too. Of TCP connections nothing may be left in
// the kernel after a reset, which /proc tells as well.
func Run(t *testing.T, c Config) {
	startPoller()
	for _, test := range []struct {
		name string
		run  func(*testing.T, *network)
		only bool
	}{
		{name: "Conn", run: testConn, only: true},
		{name: "EitherEndOpens", run: testEitherEndOpens, only: true},
		{name: "HalfClose", run: testHalfClose, only: true},
		{name: "EOF", run: testEOF, only: true},
		{name: "CloseDelivers", run: testCloseDelivers, only: true},
		{name: "PoliteEnd", run: testPoliteEnd, only: true},
		{name: "SingleStream", run: testSingleStream, only: !c.Multiplexes},
		{name: "ManyStreams", run: testManyStreams, only: c.Multiplexes},
		{name: "CancelAccept", run: testCancelAccept, only: true},
		{name: "CancelAcceptStream", run: testCancelAcceptStream, only: true},
		{name: "CancelOpenStream", run: testCancelOpenStream, only: c.Multiplexes},
		{name: "CancelDial", run: testCancelDial, only: true},
		{name: "ReadyBeatsCancelled", run: testReadyBeatsCancelled, only: true},
		{name: "SessionClose", run: testSessionClose, only: true},
		{name: "SessionCloseEndsStreams", run: testSessionCloseEndsStreams, only: true},
		{name: "Reset", run: testReset, only: true},
		{name: "ResetDrops", run: testResetDrops, only: true},
		{name: "Unblocks", run: testUnblocks, only: true},
		{name: "PeerVanishes", run: testPeerVanishes, only: true},
		{name: "WaitRead", run: testWaitRead, only: true},
		{name: "Poll", run: testPoll, only: true},
		{name: "Slots", run: testSlots, only: true},
		{name: "Answerer", run: testAnswerer, only: true},
		{name: "KeepAlive", run: testKeepAlive, only: true},
		{name: "ListenerClose", run: testListenerClose, only: true},
		{name: "Idempotent", run: testIdempotent, only: true},
	} {
		if test.only {
			t.Run(test.name, func(t *testing.T) {
				checkLeaks(t)
				test.run(t, c.listen(t))
			})
		}
	}
}
