// Package yamux carries many streams over one: it multiplexes any transport
// whose sessions are a single stream (TCP, TLS over TCP, a unix socket), in the
// protocol of github.com/hashicorp/yamux, with which it interoperates both as
// client and as server.
//
//	yamux.Transport{Inner: tcp.Transport{}}
//
// It is built on that library and promises more:
//
//   - A peer that has stopped reading, or stopped in the middle of a frame, delays no
//     deadline, Close or Reset of a stream.
//   - Stream.Reset sends a reset. If the connection is lost, its streams read an error:
//     EOF only if the peer has ended the stream.
//   - A peer may ping 32 times a second, after a burst of 64. Beyond that the session
//     ends with [ErrPingFlood].
//   - No keepalive is sent, and no timer of the library ends a session.
//   - An idle session has the library's two goroutines and no others, and its streams
//     hold no buffers. Sessions are [transport.Acceptor]s and streams
//     [transport.Pollable], so that waiting for either takes no goroutine.
//
// Config.ReceiveBudget limits the unread input of all of a session's streams together. The
// protocol has no window for the session, and every stream begins with one of 256 KiB. So
// when the budget is used up, nothing more is read from the peer, control frames included,
// until a handler reads. If none does for a second, the stream with the most unread input
// is reset, with [ErrUnread] for its reader. It takes 16 streams with full windows that are
// not read to get there. A peer whose streams are read, or echoed, is only slowed down.
//
// Codes of Session.Close and Stream.Reset of up to 2^32-1 reach the peer, as in libp2p's
// error-codes specification; larger ones and texts don't. The peer can't tell a reset with
// code 0 from one without a code, nor a session closed with code 1 or 2 from the protocol's
// own errors. What streams have not delivered when their session is closed may be lost.
//
// The protocol can't ask a peer to stop sending on one stream. After Stream.Close the peer
// may send up to half a window more. Then the stream is reset. A peer that is this package
// loses nothing by that; hashicorp/yamux, as a peer, loses what it had not read.
//
// Dial, Accept, OpenStream and AcceptStream obey their context, Read and Write their
// deadlines, and Close unblocks all of them. A stream that the peer opens while the session
// ends may never be returned by AcceptStream.
package yamux
