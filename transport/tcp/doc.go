// Package tcp is the transport of one stream per TCP connection, with or
// without TLS.
//
// It does not detect dead peers: the kernel's keepalive is off by default. The peer sees
// a FIN when a stream or session is closed, and a RST when a stream is reset. TCP can't
// carry the code and the text of a close; they stay at this end.
//
// With TLS a session is accepted before its handshake, which runs within the first Read
// or Write. So a slow client delays no other, and a failed handshake is an error of its
// stream. A deadline that passes during the handshake ends the session. After the
// handshake, deadlines may pass and be moved as on a plain connection; with crypto/tls
// alone a write deadline that passes breaks the connection.
//
// The stream's NetConn returns the *tls.Conn, if there is one. Its NetConn, called
// repeatedly, leads to the *net.TCPConn.
package tcp
