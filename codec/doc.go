// Package codec turns the bytes of one stream into the application's data and
// says which of them were signs of life: complete messages, heartbeats, the
// peer's [Hello] and its [Close].
//
// There are four codecs. [Raw] passes every byte and knows no beat: what
// netcat speaks. [Line] is newline-delimited text in which the lines PING and
// PONG are beats. [Frame] is binary and knows everything: it is specified in
// docs/protocol.md. [Auto], for the end that accepts, tells frame from raw by
// the first bytes of the peer.
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
// Its promises: no I/O, no clock, no goroutine, no buffer; what it keeps
// between two calls is an unfinished header, and memory is allocated for a
// Hello or a Close only, after their limits were checked. What Decode returns in
// sum does not depend on how the input was cut into reads (except that to raw
// a read is a message). There is nothing to cancel and nothing to close: a
// Coder is garbage when its stream is.
package codec
