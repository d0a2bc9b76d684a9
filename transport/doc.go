// Package transport defines the interfaces of a transport: listeners and dialers of
// sessions, and byte streams in each session.
//
// It also has the error type that every implementation returns ([CloseError]), and
// [Single] and [SingleListener], which turn a net.Conn and a net.Listener into a session
// of one stream and a listener of such sessions. It imports the standard library only.
// The implementations are in the packages tcp, quic and yamux below it. Package
// transporttest is a conformance suite for any other implementation.
//
// Every blocking call takes a context or obeys the stream's deadlines. Closing a stream
// or a session makes every call blocked in it return at once, with an error for which
// errors.Is(err, net.ErrClosed) holds.
package transport
