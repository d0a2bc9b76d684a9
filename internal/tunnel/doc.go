// Package tunnel forwards connections over sessions between a client, livenet tunnel, and a
// server, livenet serve --forward.
//
// header.go parses the beginning of a stream, and does no I/O but readHeader's. client.go keeps
// the client's session and opens streams in it; server.go tells the kinds of streams apart
// and connects each to its service. Package gateway copies the bytes.
package tunnel
