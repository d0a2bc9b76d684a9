// Package quic carries sessions over QUIC (RFC 9000): streams are native, the
// handshake is TLS 1.3, and the code and text of Session.Close reach the peer
// in a CONNECTION_CLOSE frame.
//
// What this package promises beyond [transport.Transport]:
//
//   - A stream ends the way a net.Conn does. Close ends both directions and
//     returns every blocked call; what was written before still reaches the
//     peer, unless a Write was under way: that one fails, and the peer reads a
//     reset instead of an EOF in the middle of a message. However a stream
//     ends, its slot under MaxIncomingStreams comes back.
//   - Errors are translated by type. An idle timeout of the QUIC connection is
//     not a deadline of the application: it ends the session with
//     [transport.Lost], and Timeout() is false.
//   - Whoever sends from addresses that are not his can't make a listener hold much:
//     see [Transport.MaxUnverified]. A handshake that fails is not silent: Accept
//     returns a session that has ended, whose context says why.
//   - Nothing is sent on a session that is silent: QUIC's keep-alive stays off
//     unless Config.KeepAlivePeriod asks for it.
//
// What it cannot promise. A stream is invisible to the peer before its first
// byte (or its end). Session.Close drops what the streams have not yet
// delivered, in both directions. QUIC closes a connection on which nothing was
// received for the smaller of both ends' idle timeouts (Config.MaxIdleTimeout,
// 5 minutes where it is zero), at once and without telling the peer. The sessions of
// a listener share its UDP socket, so the address is free again only when the
// listener is closed and its last session has ended.
//
// Cancelling: Dial, Accept, OpenStream and AcceptStream obey their context,
// Read and Write their deadlines, and everything obeys Close.
//
// quic-go writes one line to the standard logger if the system does not allow
// UDP buffers of 7 MB; QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true in the
// environment silences it.
package quic
