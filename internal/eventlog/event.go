package eventlog

import (
	"errors"
	"log/slog"
	"net"

	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// levelOf returns the level of an event. There may be very many streams, so they are logged
// at debug level, unless they have a policy of their own.
func levelOf(e liveness.Event) slog.Level {
	switch {
	case e.What == liveness.AcceptFailed:
		return slog.LevelWarn
	case e.Kind == liveness.KindStream && e.Policy == "":
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// Names of attributes, as documented in docs/cli.md.
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

	// Attributes of lines that are not liveness events.
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

// attributes returns the attributes of an event's line.
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

// subject returns the attributes that identify the event's session or stream.
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

// ending returns the attributes of a closed event. Milliseconds are rounded down, so that an
// early end would be visible.
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

// detail returns what is known of an end beyond its reason: the peer's text or the transport's
// error. It is empty for a normal end.
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
		return lost.Err.Error() // the reason says the rest
	}
	return e.Err.Error()
}
