// Package tcp is the transport of one stream per TCP connection, with or
// without TLS.
//
// It does not judge whether the peer still lives: the kernel's keepalive is
// off unless asked for. The peer sees a FIN when a stream or session is closed
// and a RST when a stream is reset. Codes and words of a close are for this end
// only, as TCP has no place for them.
//
// With TLS a session is accepted before its handshake, which takes place within
// the first Read or Write; so a slow client holds up nobody, and what goes
// wrong is an error of its stream; so is a deadline that passes meanwhile. After
// that deadlines may pass and be moved as on a plain connection, which
// crypto/tls alone does not allow.
//
// The stream's NetConn leads to the *tls.Conn, if there is one, and through
// that one's NetConn, again and again, to the *net.TCPConn.
package tcp
