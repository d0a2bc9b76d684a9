// Package quic is the transport over QUIC (RFC 9000), built on quic-go. The code and text
// of Session.Close reach the peer in a CONNECTION_CLOSE frame.
//
// It promises more than [transport.Transport]:
//
//   - A stream closes like a net.Conn. Close ends both directions and makes every blocked
//     call return. What was written still reaches the peer. If Close interrupts a Write,
//     the peer reads a reset instead of an EOF. However a stream ends, it no longer counts
//     towards MaxIncomingStreams.
//   - A QUIC idle timeout ends the session with [transport.Lost], and the error's
//     Timeout() is false, because it is not a deadline of the application.
//   - Clients with spoofed addresses can't make a listener hold much memory: see
//     [Transport.MaxUnverified]. After a failed handshake Accept returns a session that
//     has ended, whose context has the cause.
//   - Nothing is sent on an idle session, unless Config.KeepAlivePeriod is set.
//
// Its limits: the peer can't accept a stream before its first byte, or FIN, is sent.
// Session.Close drops what the streams have not yet delivered, in both directions. If
// nothing is received for the smaller of both ends' idle timeouts (Config.MaxIdleTimeout,
// 5 minutes by default), QUIC closes the connection without sending anything. A listener's
// sessions share its UDP socket, so the address is free only when the listener is closed
// and its last session has ended.
//
// Dial, Accept, OpenStream and AcceptStream obey their context, Read and Write their
// deadlines, and Close unblocks all of them.
//
// quic-go logs one line to the standard logger if the system does not allow UDP buffers of
// 7 MB. The environment variable QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true suppresses it.
package quic
