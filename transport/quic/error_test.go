package quic

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
)

func TestCloseError(t *testing.T) {
	const local, peer, lost = transport.Local, transport.Peer, transport.Lost
	for _, test := range []struct {
		name string
		err  error
		want transport.CloseError // without Err
	}{
		{"closed by this end", &quicgo.ApplicationError{ErrorCode: 3, ErrorMessage: "max age"},
			transport.CloseError{Origin: local, HasCode: true, Code: 3, Text: "max age"}},
		{"closed by the peer", &quicgo.ApplicationError{Remote: true, ErrorCode: 2},
			transport.CloseError{Origin: peer, HasCode: true, Code: 2}},
		{"the peer restarted", &quicgo.StatelessResetError{},
			transport.CloseError{Origin: peer, Reset: true}},
		{"the peer's stack went without complaint", &quicgo.TransportError{Remote: true},
			transport.CloseError{Origin: peer}},
		{"the peer's stack complained", &quicgo.TransportError{Remote: true, ErrorCode: quicgo.FlowControlError},
			transport.CloseError{Origin: peer, Reset: true}},
		{"the peer broke the protocol", &quicgo.TransportError{ErrorCode: quicgo.ProtocolViolation},
			transport.CloseError{Origin: lost, Fault: transport.ProtocolError}},
		{"the peer's certificate is bad", &quicgo.TransportError{ErrorCode: 0x100 + 42},
			transport.CloseError{Origin: lost, Fault: transport.ProtocolError}},
		{"this end failed", &quicgo.TransportError{ErrorCode: quicgo.InternalError}, transport.CloseError{Origin: lost}},
		{"idle", &quicgo.IdleTimeoutError{}, transport.CloseError{Origin: lost}},
		{"handshake", &quicgo.HandshakeTimeoutError{}, transport.CloseError{Origin: lost, Fault: transport.HandshakeTimeout}},
		{"versions", &quicgo.VersionNegotiationError{}, transport.CloseError{Origin: lost}},
		{"socket", quicgo.ErrTransportClosed, transport.CloseError{Origin: lost}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := closeError(fmt.Errorf("wrapped: %w", test.err))
			bare := *got
			bare.Err = nil
			if bare != test.want {
				t.Errorf("got %+v, want %+v", bare, test.want)
			}
			if is := errors.Is(got, net.ErrClosed); is != (test.want.Origin == local) {
				t.Errorf("errors.Is(err, net.ErrClosed) = %v", is)
			}
			if is := errors.Is(got, syscall.ECONNRESET); is != test.want.Reset {
				t.Errorf("errors.Is(err, ECONNRESET) = %v", is)
			}
			if os.IsTimeout(got) || errors.Is(got, os.ErrDeadlineExceeded) {
				t.Error("looks like a deadline")
			}
			if ne, ok := errors.AsType[net.Error](error(got)); !ok || ne.Timeout() {
				t.Error("errors.As finds a net.Error that is a timeout")
			}
		})
	}
}

// Rule 9: a peer's short idle timeout may end a session before the policy does. The error
// names that possibility.
func TestRule9IdleTimeoutErrorNamesBothEnds(t *testing.T) {
	err := closeError(&quicgo.IdleTimeoutError{})
	if !strings.Contains(err.Error(), "the shorter of both ends' QUIC idle timeouts") {
		t.Errorf("%v", err)
	}
	if _, ok := errors.AsType[*quicgo.IdleTimeoutError](err); !ok {
		t.Errorf("%v has lost its type", err)
	}
}

func TestStreamError(t *testing.T) {
	reset := &quicgo.StreamError{Remote: true, ErrorCode: 7}
	wantReset := transport.CloseError{Origin: transport.Peer, Reset: true, HasCode: true, Code: 7}
	if got := readError(reset); *got.(*transport.CloseError) != wantReset {
		t.Errorf("RESET_STREAM: %+v", got)
	}
	if got := writeError(reset); *got.(*transport.CloseError) != wantReset {
		t.Errorf("STOP_SENDING: %+v", got)
	}
	closed := &quicgo.StreamError{Remote: true, ErrorCode: codeClosed}
	if got := writeError(closed); *got.(*transport.CloseError) != (transport.CloseError{Origin: transport.Peer}) {
		t.Errorf("STOP_SENDING after Close: %+v", got)
	}
	if got := readError(io.EOF); got != io.EOF {
		t.Errorf("EOF: %v", got)
	}
}

// errors.As finds quic-go's errors.
func TestErrorsAsFindsTheLibrarysErrors(t *testing.T) {
	err := error(closeError(&quicgo.TransportError{Remote: true, ErrorCode: quicgo.ConnectionRefused}))
	te, ok := errors.AsType[*quicgo.TransportError](err)
	if !ok || te.ErrorCode != quicgo.ConnectionRefused {
		t.Errorf("errors.As found %v", te)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error("not ECONNREFUSED")
	}
	dial := &net.OpError{Op: "dial", Err: opaque{&quicgo.HandshakeTimeoutError{}}}
	if !dial.Timeout() || errors.Is(dial, net.ErrClosed) {
		t.Errorf("a dial that took too long: Timeout() %v, closed %v", dial.Timeout(), errors.Is(dial, net.ErrClosed))
	}
}
