// Package yamux carries many streams over one: it multiplexes whatever
// transport gives sessions of a single stream (TCP, TLS over TCP, a unix
// socket), in the protocol of github.com/hashicorp/yamux, with which it
// interoperates both as client and as server.
//
//	yamux.Transport{Inner: tcp.Transport{}}
//
// Between the library and the connection stands a wire that follows the frames
// in both directions. It is what lets this package promise more than the
// library does:
//
//   - Nothing that a stream does waits for the connection: a Write that is
//     stuck behind a peer who has stopped reading still obeys its deadline,
//     Close and Reset.
//   - Nothing that a stream does waits for the rest of a frame, for a peer may
//     stop in the middle of one. What has come is there to be read, and no end of
//     a stream is seen before its last byte.
//   - Stream.Reset resets, and says so to the peer; the stream's memory and its
//     place among the unanswered ones come back at once.
//   - A stream whose connection is lost reads an error, and EOF only where the
//     peer has ended it.
//   - A peer may ping 32 times a second, after a burst of 64. Beyond that the
//     session ends with [ErrPingFlood]: the library starts a goroutine for each.
//   - Nothing is sent on a session that is silent, and no timer of the library
//     ends one.
//   - An idle session has no goroutines but the library's two, and its streams
//     hold no buffers, from a second or so after what has come was read. Both can
//     be waited for without a goroutine: sessions are [transport.Acceptor]s, and
//     streams [transport.Pollable].
//
// Session.Close sends a Go Away frame before it closes the connection, and
// waits for that at most a tenth of a second. Codes up to 65535 travel in it,
// and in the frame of Stream.Reset, in a way that other implementations of the
// protocol pass over: they see a session that ends, and a stream that is reset.
// Larger codes and the text of Session.Close are not carried. What the streams
// have written and not delivered by then may be lost.
//
// Two things the protocol has no words for. A peer cannot be asked to stop
// sending: it may go on after this end's Stream.Close, to nobody, until it has
// filled half of the stream's window (256 KB); then the stream is reset, and
// with that the peer loses what it had not read. And a session's streams share
// one connection, so that a lost packet holds up all of them.
//
// Cancelling: Dial, Accept, OpenStream and AcceptStream obey their context,
// Read and Write their deadlines, and everything obeys Close. A stream that the
// peer opened while the session ends may never be seen by AcceptStream.
package yamux
