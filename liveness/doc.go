// Package liveness closes connections whose other end is gone: never before the
// deadline that a policy sets, and at most two ticks (20 ms) after it, plus scheduling
// delay. After a stall of this process, peers get extra time in which to be heard.
//
// A [Policy] sets the deadline: [Fixed] counts from the accept, [Sliding] from the last
// sign of the peer's life, [MaxAge] limits the age, and [Earliest] combines several.
// What counts as a sign of life is [Config].Evidence. An [Engine] applies the policies:
// it keeps a [Lease] of 64 bytes for each connection, and one goroutine for all of them.
//
// There are four ways to use it:
//
//   - [NewListener] and [NewConn] put connections of package net under a policy, below
//     net/http or any other protocol.
//   - A [Server] serves the sessions and streams of a transport (TCP, QUIC, yamux, or
//     another) and reads messages and heartbeats with a codec.
//   - A [Client] dials such a server, sends heartbeats as often as it asks for, and
//     notices when it is gone.
//   - [Engine.Grant] grants a lease for anything else that may fall silent.
//
// A [Session] is one peer of a Listener, a Server or a Client; it has the peer's figures,
// policy and reason of closing. Each session and each stream ends for one [Reason]. Read
// and Write return it in an [*Error], [Event] and [Counts] have it, and it is sent to the
// peer if the codec or the transport can.
//
// To cancel what this package runs, close it: Conn.Close, [Session.CloseWith],
// [Server.Shutdown] and [Listener.Shutdown].
package liveness
