// Package codec splits the bytes of a stream into the application's data and liveness
// signals: complete messages, heartbeats ("beats"), the peer's [Hello], [GoAway] and [Close].
//
// There are four codecs. [Raw] passes every byte and has no beats, as with netcat. [Line]
// is newline-delimited text in which the lines PING and PONG are beats. [Frame] is a binary
// protocol with all features, specified in docs/protocol.md. [Auto], for the end that
// accepts, detects frame or raw by the peer's first bytes.
//
// A [Coder] works in place. The caller reads into its own buffer, behind
// Headroom free bytes, and Decode leaves the application's bytes at the front:
//
//	h := c.Headroom()
//	k, err := conn.Read(p[h:])
//	m, seen, err := c.Decode(p, k) // the application's bytes are p[:m]
//
// and to write p:
//
//	b = c.AppendPending(b[:0])
//	b = c.AppendDataHeader(b, p) // then write b, then p
//
// A Coder does no I/O and has no clock, goroutine or buffer. Between two calls it keeps only
// an unfinished header. It allocates memory only for a Hello, GoAway or Close, after it has
// checked their limits. The result does not depend on how the input is split into reads
// (except that for raw each read is a message). A Coder needs no Close.
package codec
