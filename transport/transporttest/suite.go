package transporttest

import (
	"testing"

	"github.com/livenet/livenet/transport"
)

// Config describes a transport under test.
type Config struct {
	// New returns the two ends for one test, and the address to listen on. Both ends may
	// be the same Transport. Resources other than listeners and sessions have to be
	// released with t.Cleanup.
	New func(t *testing.T) (server, client transport.Transport, addr string)

	// Multiplexes: a session carries many streams, opened by either end, and the peer
	// learns when a session ends. Otherwise a session is one stream, as with
	// [transport.Single]. Session.Multiplexed has to return the same.
	Multiplexes bool

	// Resets: the peer can distinguish Stream.Reset from Stream.Close.
	Resets bool

	// SessionCodes: the code and the text of Session.Close reach the peer.
	SessionCodes bool

	// StreamCodes: the code of Stream.Reset reaches the peer.
	StreamCodes bool

	// Cut makes the link between the two ends of a session go dead silent, as [Cut]
	// does; nil: there is no way to. Without it a peer that closes its session has to
	// do for one that has gone.
	Cut func(client, server transport.Session)
}

// Run runs the suite, one subtest for each promise. A subtest also fails if it leaves a
// goroutine behind, or, on systems with /proc, a descriptor. So nothing else may run in the
// process at the same time. Streams that are a [transport.Waiter] or [transport.Pollable],
// and sessions that are a [transport.Answerer], are tested as such, too. After a reset of a
// TCP connection nothing of it may be left in the kernel, where /proc shows that.
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
