package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

func TestListenNeedsCertificate(t *testing.T) {
	for name, c := range map[string]*tls.Config{"nil": nil, "empty": {}} {
		if _, err := (Transport{TLS: c}).Listen(t.Context(), "127.0.0.1:0"); !errors.Is(err, errNoCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Configs are copied, and what they set is kept.
func TestConfigIsCopied(t *testing.T) {
	given := &quicgo.Config{MaxIncomingStreams: 7, MaxIdleTimeout: time.Hour, RequireStreamCreditRelease: true}
	before := *given
	got := config(given)
	if got.MaxIncomingStreams != 7 || got.MaxIdleTimeout != time.Hour || got.KeepAlivePeriod != 0 {
		t.Errorf("not kept: %+v", got)
	}
	if got.RequireStreamCreditRelease || got.MaxIncomingUniStreams >= 0 {
		t.Errorf("not adapted: %+v", got)
	}
	if !reflect.DeepEqual(*given, before) {
		t.Errorf("the caller's was changed: %+v", given)
	}
	if got := config(nil); got.MaxIncomingStreams != maxIncomingStreams {
		t.Errorf("default: %+v", got)
	}

	choosing := &quicgo.Config{GetConfigForClient: func(*quicgo.ClientInfo) (*quicgo.Config, error) { return given, nil }}
	if got, _ := config(choosing).GetConfigForClient(nil); got.RequireStreamCreditRelease {
		t.Error("a config chosen for a client is not adapted")
	}
	patient := &quicgo.Config{MaxIdleTimeout: time.Hour, KeepAlivePeriod: time.Minute, GetConfigForClient: choosing.GetConfigForClient}
	if got, _ := config(patient).GetConfigForClient(nil); got.MaxIdleTimeout != time.Hour || got.KeepAlivePeriod != time.Minute {
		t.Errorf("a config chosen for a client has a shorter idle timeout than the listener: %+v", got)
	}
}

// Rule 9: a listener reports its QUIC idle timeout.
func TestRule9ListenerReportsItsIdleTimeout(t *testing.T) {
	serverTLS, _ := transporttest.Certificates(t)
	for given, want := range map[time.Duration]time.Duration{0: defaultIdleTimeout, time.Minute: time.Minute} {
		l, err := Transport{TLS: serverTLS, Config: &quicgo.Config{MaxIdleTimeout: given}}.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if got := l.(transport.IdleTimeouter).IdleTimeout(); got != want {
			t.Errorf("MaxIdleTimeout %v: IdleTimeout %v", given, got)
		}
	}
}

func TestALPN(t *testing.T) {
	given := new(tls.Config)
	if got := clientTLS(given, "example.com:443"); !slices.Equal(got.NextProtos, []string{ALPN}) || got.ServerName != "example.com" {
		t.Errorf("NextProtos %q, ServerName %q", got.NextProtos, got.ServerName)
	}
	if given.NextProtos != nil || given.ServerName != "" {
		t.Error("the caller's config was changed")
	}
	own := &tls.Config{NextProtos: []string{"own"}, ServerName: "name"}
	if got := clientTLS(own, "example.com:443"); !slices.Equal(got.NextProtos, own.NextProtos) || got.ServerName != "name" {
		t.Errorf("NextProtos %q, ServerName %q", got.NextProtos, got.ServerName)
	}
	choosing := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return given, nil }}
	got, err := serverTLS(choosing)
	if err != nil {
		t.Fatal(err)
	}
	if chosen, _ := got.GetConfigForClient(nil); !slices.Equal(chosen.NextProtos, []string{ALPN}) {
		t.Errorf("a config chosen for a client has NextProtos %q", chosen.NextProtos)
	}
}

func TestResolve(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:80":   "127.0.0.1:80",
		"[::1]:https":    "[::1]:443",
		"[fe80::1%lo]:1": "[fe80::1%lo]:1",
		":99":            ":99",
		"localhost:1":    "127.0.0.1:1",
	} {
		got, err := resolve(t.Context(), addr)
		if err != nil || listenAddr(got).String() != want {
			t.Errorf("%s: %v, %v", addr, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resolve(ctx, "livenet.invalid:1"); err == nil {
		t.Error("a name was looked up without a context to do it in")
	}
}
