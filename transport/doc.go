// Package transport is what livenet asks of a way to reach a peer: sessions
// that are accepted or dialled, and in each of them streams of bytes.
//
// It holds interfaces, the one error type that every implementation speaks
// ([CloseError]), and [Single] and [SingleListener], which make sessions of
// connections that carry exactly one stream. It imports the standard library
// only. The implementations live in the packages below it: tcp, quic and yamux;
// the conformance suite that any other implementation can run is transporttest.
//
// Every blocking call takes a context or obeys the stream's deadlines. Closing
// a stream or a session returns every call blocked in it, at once, with an
// error for which errors.Is(err, net.ErrClosed) holds.
package transport
