package eventlog

import (
	"errors"
	"log/slog"
	"net"

	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// levelOf is how much an event matters. Streams come by the thousand; those
// that have a policy of their own are worth as much as sessions.
func levelOf(e liveness.Event) slog.Level {
	switch {
	case e.What == liveness.AcceptFailed:
		return slog.LevelWarn
	case e.Kind == liveness.KindStream && e.Policy == "":
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// Names of attributes, as docs/cli.md has them.
const (
	keyAddr      = "addr"
	keyID        = "id"
	keyKind      = "kind"
	keySession   = "session"
	keyListener  = "listener"
	keyTransport = "transport"
	keyLocal     = "local"
	keyRemote    = "remote"
	keyPolicy    = "policy"
	keyReason    = "reason"
	keyInitiator = "initiator"
	keyAge       = "age_ms"
	keySilent    = "silent_ms"
	keyLate      = "late_ms"
	keyBeats     = "beats"
	keyIn        = "bytes_in"
	keyOut       = "bytes_out"
	keyRTT       = "rtt_us"
	keyError     = "error"

	// Of lines that are no events.
	keyFolder = "folder"
	keyPin    = "pin"
	keyMade   = "made"
	keyLines  = "lines"
	keyOutput = "output"

	keyUpstream = "upstream"

	keySkipped  = "skipped"
	keySessions = "sessions"
	keyOf       = "of"
)

// attributes are what a line says of an event.
func attributes(e liveness.Event) []slog.Attr {
	switch e.What {
	case liveness.Opened:
		return subject(e)
	case liveness.Closed:
		return append(subject(e), ending(e)...)
	}
	a := []slog.Attr{slog.String(keyListener, e.Listener), slog.String(keyTransport, e.Transport)}
	if e.Addr != nil {
		a = append(a, slog.String(keyAddr, e.Addr.String()))
	}
	if e.What == liveness.Listening {
		a = append(a, slog.String(keyPolicy, e.Policy))
	}
	if e.Err != nil {
		a = append(a, slog.String(keyError, Clean(e.Err.Error())))
	}
	return a
}

// subject is which session or stream an event is about.
func subject(e liveness.Event) []slog.Attr {
	a := []slog.Attr{slog.Uint64(keyID, e.ID), slog.String(keyKind, e.Kind.String())}
	if e.Kind == liveness.KindStream {
		a = append(a, slog.Uint64(keySession, e.Session))
	}
	return append(a,
		slog.String(keyListener, e.Listener),
		slog.String(keyTransport, e.Transport),
		slog.String(keyLocal, address(e.Local)),
		slog.String(keyRemote, address(e.Remote)),
		slog.String(keyPolicy, e.Policy),
	)
}

func address(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// ending is how it ended. Milliseconds are whole and cut off, never rounded up:
// one that ended too early would show.
func ending(e liveness.Event) []slog.Attr {
	a := []slog.Attr{
		slog.String(keyReason, e.End.Reason.String()),
		slog.String(keyInitiator, e.End.Initiator.String()),
		slog.Int64(keyAge, e.End.Age.Milliseconds()),
		slog.Int64(keySilent, e.End.Silence.Milliseconds()),
		slog.Int64(keyLate, e.Late.Milliseconds()),
		slog.Int64(keyBeats, e.Beats),
		slog.Int64(keyIn, e.BytesIn),
		slog.Int64(keyOut, e.BytesOut),
	}
	if e.RTT > 0 {
		a = append(a, slog.Int64(keyRTT, e.RTT.Microseconds()))
	}
	if text := detail(e.End); text != "" {
		a = append(a, slog.String(keyError, Clean(text)))
	}
	return a
}

// detail is what is known of an end beyond its reason: the peer's words, or
// what the transport found. A peer that simply left needs none.
func detail(e *liveness.Error) string {
	var reset net.Error
	switch {
	case e.Text != "":
		return e.Text
	case e.Err == nil, e.Reason == liveness.Done, e.Reason == liveness.PeerClosed, e.Reason == liveness.Draining:
		return ""
	case e.Reason == liveness.PeerReset && errors.As(e.Err, &reset):
		return ""
	}
	if lost, ok := errors.AsType[*transport.CloseError](e.Err); ok && lost.Err != nil {
		return lost.Err.Error() // the reason has said the rest
	}
	return e.Err.Error()
}
