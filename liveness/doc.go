// Package liveness tells whether the other end of a connection is still there,
// and ends the connection when it is not: never before its deadline, and at
// most two ticks after it, plus scheduling and, after a stall of this process,
// the time that the peers are given to be heard.
//
// A [Policy] says when: [Fixed] from the accept, whatever the traffic; [Sliding]
// from the last sign of the peer's life; [MaxAge]; and what [Earliest] makes of
// several. An [Engine] judges by it. It holds a [Lease] of 64 bytes for each
// connection, which is renewed by a stamp that takes nanoseconds, and has one
// goroutine for all of them.
//
// There are four ways in:
//
//   - [NewListener] and [NewConn] put connections of package net under a policy:
//     below net/http, or any protocol that has its own framing.
//   - A [Server] serves the sessions and streams of a transport (TCP, QUIC, yamux,
//     one's own) and knows messages and heartbeats by a codec. Its Handler blocks
//     in Read, as usual; its Data is called with what came, so that an idle
//     connection needs no goroutine.
//   - A [Client] dials connections that beat as often as the server asks, and
//     notice when the server has gone.
//   - [Engine.Grant] and [Engine.Watch] grant bare leases, for whatever else may
//     fall silent.
//
// Every end has one [Reason], in the [*Error] that Read and Write return, in what
// the peer is told, in the [Event] and in the [Counts].
package liveness
