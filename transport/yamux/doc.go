// Package yamux carries many streams over one: it multiplexes any transport
// whose sessions are a single stream (TCP, TLS over TCP, a unix socket), in the
// protocol of github.com/hashicorp/yamux, with which it interoperates both as
// client and as server.
//
//	yamux.Transport{Inner: tcp.Transport{}}
//
// It is built on that library and promises more:
//
//   - Nothing that a stream does waits for the connection, or for the rest of a
//     frame: neither a peer that has stopped reading nor one that has stopped in
//     the middle of a frame delays a deadline, Close or Reset.
//   - Stream.Reset resets, and a stream whose connection is lost reads an error:
//     EOF only where the peer has ended it.
//   - A peer may ping 32 times a second, after a burst of 64. Beyond that the
//     session ends with [ErrPingFlood].
//   - No keepalive is sent, and no timer of the library ends a session.
//   - An idle session has the library's two goroutines and no others, and its
//     streams hold no buffers. Sessions are [transport.Acceptor]s and streams
//     [transport.Pollable], so that waiting for either takes no goroutine.
//
// The unread input of a session's streams has one budget, Config.ReceiveBudget.
// The protocol has no window for the session, and every stream begins with one of
// 256 KiB. So when the budget is used up, nothing more is read from the peer,
// control frames included, until a handler reads. If none does for a second, the
// stream with the most unread input is reset, with [ErrUnread] for its reader. That
// takes 16 streams with full windows that nobody reads. A peer whose streams are
// read, or echoed, however many, is slowed down at most.
//
// Codes of Session.Close and Stream.Reset of up to 2^32-1 reach the peer, after
// libp2p's error-codes specification; larger ones and texts don't. The peer can't
// tell a reset with code 0 from one without a code, nor a session closed with code
// 1 or 2 from the protocol's own errors. What streams have not delivered when their
// session is closed may be lost.
//
// A peer cannot be asked to stop sending on one stream. After Stream.Close it may
// go on until it has sent half a window; then the stream is reset. A peer that is this
// package loses nothing by that; the library, as a peer, loses what it had not read.
//
// Cancelling: Dial, Accept, OpenStream and AcceptStream obey their context,
// Read and Write their deadlines, and everything obeys Close. A stream that the
// peer opened while the session ends may never be seen by AcceptStream.
package yamux
