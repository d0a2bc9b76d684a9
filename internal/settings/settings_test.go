package settings

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/livenet/livenet/codec"
)

var handlers = []string{"discard", "echo", "log"}

// fromFlags parses settings given as "timeout=4s tls=true".
func fromFlags(text string) (*Listener, error) {
	l := new(Listener)
	args := []string{"test"}
	for _, word := range strings.Fields(text) {
		args = append(args, "--"+word)
	}
	return l, newApp(l, nil).Run(args)
}

// newApp returns a command with the flags of a listener and their variables.
func newApp(l *Listener, variables map[string]string) *cli.App {
	flags := Flags(l, handlers)
	for _, f := range flags {
		if f, ok := f.(*cli.StringFlag); ok && variables[f.Name] != "" {
			f.EnvVars = []string{variables[f.Name]}
		}
		if f, ok := f.(*cli.DurationFlag); ok && variables[f.Name] != "" {
			f.EnvVars = []string{variables[f.Name]}
		}
	}
	return &cli.App{
		Name: "test", Flags: flags, HideHelp: true, Writer: io.Discard, Action: l.Check,
		OnUsageError:   Explain,
		ExitErrHandler: func(*cli.Context, error) {},
	}
}

func TestDefaults(t *testing.T) {
	l, err := fromFlags("")
	if err != nil {
		t.Fatal(err)
	}
	want := Listener{
		Transport: "tcp", Address: "127.0.0.1:7373",
		IO: IOAuto, MaxStreams: 1024,
		Policy: "sliding", Timeout: 30 * time.Second, Opening: 10 * time.Second,
		Evidence: "bytes", MaxBeats: 100,
		Codec: "auto", Handler: "echo", EvidenceFrom: "client",
	}
	if !reflect.DeepEqual(*l, want) {
		t.Errorf("defaults:\n got %+v\nwant %+v", *l, want)
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		text string
		want func(*Listener) bool
	}{
		{"transport=quic", func(l *Listener) bool { return l.TLS }},
		{"transport=yamux", func(l *Listener) bool { return !l.TLS }},
		{"transport=yamux tls=true", func(l *Listener) bool { return l.TLS }},
		{"tls-cert=c tls-key=k", func(l *Listener) bool { return l.TLS && l.Cert == "c" && l.Key == "k" }},
		{"tls=true client-ca=ca", func(l *Listener) bool { return l.ClientCA == "ca" }},
		{"transport=quic client-ca=ca", func(l *Listener) bool { return l.ClientCA == "ca" }},
		{"listen=:80", func(l *Listener) bool { return l.Address == ":80" }},
		{"reuse-port=true", func(l *Listener) bool { return l.ReusePort }},
		{"io=goroutine", func(l *Listener) bool { return !l.Parked() }},
		{"", func(l *Listener) bool { return l.Parked() == (runtime.GOOS == "linux") }},
		{"transport=quic", func(l *Listener) bool { return !l.Parked() }},
		{"codec=line evidence=messages", func(l *Listener) bool { return l.Codec == "line" && l.Counts() == codec.Messages }},
		{"evidence=beats", func(l *Listener) bool { return l.Counts() == codec.Beats }},
		{"transport=yamux max-streams=7", func(l *Listener) bool { return l.MaxStreams == 7 }},
		{"min-pace=64k", func(l *Listener) bool { return l.MinPace == 64<<10 }},
		{"min-pace=500", func(l *Listener) bool { return l.MinPace == 500 }},
		{"min-pace=0 policy=fixed", func(l *Listener) bool { return l.MinPace == 0 }},
		{"min-pace=2M transport=quic policy=fixed stream-policy=sliding stream-timeout=9s", func(l *Listener) bool { return l.MinPace == 2<<20 }},
		{"max-beats=7", func(l *Listener) bool { return l.MaxBeats == 7 }},
		// A client that beats as requested must not be closed for it.
		{"timeout=20ms", func(l *Listener) bool { return l.MaxBeats > 3*50 }},
		{"transport=quic policy=fixed stream-policy=sliding stream-timeout=20ms", func(l *Listener) bool { return l.MaxBeats > 3*50 }},
		// An opening time longer than the timeout would have no effect.
		{"timeout=4s", func(l *Listener) bool { return l.Opening == 4*time.Second }},
		{"timeout=4s opening=4s", func(l *Listener) bool { return l.Opening == 4*time.Second }},
		{"timeout=1h", func(l *Listener) bool { return l.Opening == 10*time.Second }},
		{"timeout=87600h", func(l *Listener) bool { return l.Timeout == MaxDuration }},
	} {
		l, err := fromFlags(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		} else if !test.want(l) {
			t.Errorf("%s: got %+v", test.text, *l)
		}
	}
}

func TestBadSettings(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"transport=foo", `unknown transport "foo": there are quic, tcp and yamux`},
		{"policy=foo", `unknown policy "foo": there are fixed and sliding`},
		{"stream-policy=foo", `unknown stream policy "foo": there are fixed and sliding`},
		{"codec=foo", `unknown codec "foo": there are auto, frame, line and raw`},
		{"handler=foo", `unknown handler "foo": there are discard, echo and log`},
		{"evidence=foo", `unknown evidence "foo": there are acks, bytes, messages and beats`},

		{"timeout=", `--timeout "": want a duration, such as 500ms, 4s or 1h30m`},
		{"timeout=0", "a policy needs a timeout"},
		{"timeout=0s", "a policy needs a timeout"},
		{"timeout=-4s", "--timeout -4s: out of range: from 20ms to 87600h (ten years)"},
		{"timeout=19ms", "--timeout 19ms: out of range"},
		{"timeout=87601h", "--timeout 87601h: out of range"},
		{"timeout=4", `--timeout "4": want a duration, such as 500ms, 4s or 1h30m`},
		{"timeout=99999999999999h", "--timeout \"99999999999999h\": want a duration"},
		{"opening=0", "--opening 0s: out of range"},
		{"max-age=-1s", "--max-age -1s: out of range"},
		{"max-age-jitter=1ns", "--max-age-jitter 1ns: out of range"},
		{"probe-after=0", "--probe-after 0s: out of range"},

		{"opening=5s timeout=4s", "--opening 5s has no effect: --timeout 4s ends"},
		{"max-age-jitter=5s", "--max-age-jitter has nothing to vary: add --max-age"},
		{"policy=fixed timeout=4s max-age=5s", "--max-age 5s is never reached"},
		{"probe-after=4s timeout=4s", "--probe-after 4s must be below --timeout 4s"},
		{"probe-after=40s", "--probe-after 40s must be below --timeout 30s"},
		{"policy=fixed probe-after=1s", "--probe-after 1s makes no sense with the fixed policy"},
		{"codec=raw probe-after=1s", "--probe-after 1s makes no sense with the raw codec"},
		{"codec=raw evidence=beats", "--evidence beats makes no sense with the raw codec"},
		{"transport=quic max-streams=0", `--max-streams "0": want a number from 1 to 1000000`},
		{"max-streams=7", "--max-streams 7 has no effect: a session over tcp is one stream"},
		{"min-pace=-1", `--min-pace "-1": want a size from 0 to 1G, such as 500, 64K or 2M`},
		{"min-pace=", `--min-pace "": want a size`},
		{"min-pace=1KB", `--min-pace "1KB": want a size`},
		{"min-pace=1025M", `--min-pace "1025M": want a size`},
		{"min-pace=1k policy=fixed", "--min-pace 1k is judged over a sliding policy's timeout: there is none"},
		{"max-beats=0", `--max-beats "0": want a number from 1 to 1000000`},
		{"max-beats=x", `--max-beats "x": want a number`},
		{"max-beats=2 timeout=1s", "--max-beats 2 is too few"},

		{"stream-policy=sliding stream-timeout=1s", "--stream-policy: a session over tcp is one stream"},
		{"stream-timeout=1s", "--stream-timeout: a session over tcp is one stream"},
		{"transport=quic stream-policy=sliding", "a policy needs a timeout: --stream-policy goes with --stream-timeout"},
		{"transport=quic stream-policy=sliding stream-timeout=0", "a policy needs a timeout: give --stream-timeout"},
		{"transport=yamux stream-timeout=1s", "--stream-timeout has no policy to go with: add --stream-policy"},

		{"tls-cert=c", "--tls-cert is without its key: add --tls-key"},
		{"tls-key=k", "--tls-key is without its certificate: add --tls-cert"},
		{"tls-cert=", "--tls-cert is empty"},
		{"client-ca=ca", "--client-ca needs TLS: add --tls"},
		{"transport=quic tls=false", "--tls can't be false: quic always has TLS"},
		{"tls=false tls-cert=c tls-key=k", "--tls-cert has no effect where --tls is false"},
		{"io=epoll", `unknown io "epoll": there are auto, goroutine and parked`},
		{"transport=quic io=parked", "--io parked can't be had: only tcp on Linux parks, and this is quic on " + runtime.GOOS},
		{"reuse-port=perhaps", `--reuse-port "perhaps": want true or false`},
		{"tls=perhaps", `--tls "perhaps": want true or false`},

		{"forward=6379", `--forward "6379": want HOST:PORT or unix:PATH`},
		{"forward=", `--forward "": want HOST:PORT or unix:PATH`},
		{"forward=a:1 forward=a:1", `--forward "a:1": it is given twice`},
		{"forward=a:0", `--forward "a:0": the port must be a number from 1 to 65535`},
		{"forward=a:1 handler=echo", "--forward and --handler contradict each other"},
		{"forward=a:1 io=parked", "--forward and --io parked contradict each other"},
		{"forward=a:1 timeout=2s", "--timeout 2s is too short for --forward, where acks are the evidence: take at least 3s, or give --evidence"},
		{"forward=a:1 timeout=2s evidence=acks", "--evidence acks needs a timeout of at least 3s"},
		{"forward=a:1 evidence=beats", "--evidence beats makes no sense with the raw codec"},
		{"forward=a:1 evidence-from=server", `unknown evidence from "server": there are client, upstream and either`},
		{"forward=a:1 evidence-from=either policy=fixed", "--evidence-from either makes no sense with the fixed policy"},
		{"forward=a:1 evidence-from=upstream transport=quic", "--evidence-from upstream: a session over quic carries connections to several services"},
		{"forward=unix:/s evidence-from=either", "--evidence-from either needs evidence that a Unix socket can give: give --evidence bytes"},
		{"forward=a:1 proxy-protocol=v3", `unknown proxy protocol "v3": there are v1 and v2`},
		{"forward=a:1 health=0", "--health 0s: out of range"},
		{"transport=quic service=ssh", `--service "ssh": want NAME=HOST:PORT`},
		{"transport=quic service=/=:1", `--service "/=:1": a service's name has letters`},
		{"transport=quic service=ssh=1", `--service "ssh=1": "1": want HOST:PORT`},
		{"transport=quic service=ssh=:1 service=ssh=:2", `--service "ssh=:2": the name is given twice`},
		{"transport=quic service=ssh=:1 codec=raw", "--service and --codec raw contradict each other: tunnels use a codec of their own"},
		{"transport=quic service=ssh=:1 forward=ssh=a:1", "--forward and --service both have the service ssh: it is one or the other"},
		{"transport=quic service=ssh=:1 handler=echo", "--service and --handler contradict each other: the service handles what comes"},
		{"transport=quic service=ssh=:1 timeout=2s", "--timeout 2s is too short for --service, where acks are the evidence"},
		{"service=ssh=:1", "--service: a session over tcp is one stream: to publish needs quic or yamux"},
		{"token-file=x forward=a:1", "--token-file: a session over tcp is one stream, without room for a token: take --client-ca"},
		{"token-file=x transport=quic", "--token-file is for tunnels: add --forward or --service, and no codec"},
		{"token-file=x transport=yamux forward=a:1", "--token-file needs TLS: add --tls, or --insecure-token to send tokens in plain text"},
		{"insecure-token=true transport=yamux forward=a:1", "--insecure-token has no effect: add --token-file"},
		{"health=1s", "--health goes with a service: add --forward"},
		{"evidence-from=either", "--evidence-from goes with a service: add --forward"},
		{"proxy-protocol=v1", "--proxy-protocol goes with a service: add --forward"},
		{"accept-proxy=proxy.example", `--accept-proxy "proxy.example": want a network, such as 10.0.0.0/8, or an address`},
		{"accept-proxy=10.0.0.0/8 transport=quic", "--accept-proxy makes no sense over quic"},
		{"accept-proxy=10.0.0.0/8 io=parked", "--accept-proxy and --io parked contradict each other"},

		{"listen=", `--listen "": want HOST:PORT`},
		{"listen=7373", `--listen "7373": want HOST:PORT; a port alone is written :7373`},
		{"listen=127.0.0.1:65536", `--listen "127.0.0.1:65536": the port must be a number from 0 to 65535, or the name of a service`},
		{"listen=127.0.0.1:no-such-service", "the port must be a number"},
		{"listen=a:b:c", "an IPv6 address goes in brackets"},
	} {
		_, err := fromFlags(test.text)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s:\n got %v\nwant %s", test.text, err, test.want)
		}
	}
}

func TestURL(t *testing.T) {
	l, err := ParseURL("quic://127.0.0.1:7374/?policy=fixed&timeout=10s&handler=discard&tls", handlers)
	if err != nil {
		t.Fatal(err)
	}
	if l.Transport != "quic" || l.Address != "127.0.0.1:7374" || l.Policy != "fixed" || l.Timeout != 10*time.Second || l.Handler != "discard" {
		t.Errorf("got %+v", *l)
	}
	if l, err := ParseURL("tcp://[::1]?timeout=4s", handlers); err != nil || l.Address != "[::1]:7373" {
		t.Errorf("an address without a port: %+v, %v", l, err)
	}
}

func TestBadURL(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"127.0.0.1:7373", "want TRANSPORT://HOST:PORT"},
		{"foo://127.0.0.1:0?timeout=4s", `unknown transport "foo": there are quic, tcp and yamux`},
		{"tcp://127.0.0.1:0", "a policy needs a timeout: add timeout=30s"},
		{"tcp://127.0.0.1:0?policy=sliding", "a policy needs a timeout: add timeout=30s"},
		{"tcp://127.0.0.1:0?timeout=0", "a policy needs a timeout"},
		{"tcp://127.0.0.1:0?timeout=4s&timeout=5s", "timeout is given 2 times"},
		{"tcp://127.0.0.1:0?timeuot=4s", `unknown setting "timeuot": did you mean timeout?`},
		{"tcp://127.0.0.1:0?colour=red", `unknown setting "colour": see --help`},
		{"tcp://127.0.0.1:0?timeout=x", `timeout "x": want a duration, such as 500ms, 4s or 1h30m`},
		{"tcp://127.0.0.1:0?timeout=4s&max-beats=x", `max-beats "x": want a number`},
		{"tcp://127.0.0.1:0?timeout=4s&listen=x", "listen belongs before the question mark"},
		{"tcp://127.0.0.1:0?timeout=4s&transport=quic", "transport belongs before the question mark"},
		{"tcp://127.0.0.1:0?timeout=%zz", "its query is invalid"},
		{"tcp://?timeout=4s", "want HOST:PORT"},
		{"tcp://127.0.0.1:0/path?timeout=4s", "the port must be a number"},
		{"tcp://127.0.0.1:0?timeout=4s&probe-after=5s", "probe-after 5s must be below timeout 4s"},
	} {
		_, err := ParseURL(test.url, handlers)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s:\n got %v\nwant %s", test.url, err, test.want)
		}
	}
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:80":  "127.0.0.1:80",
		"127.0.0.1":     "127.0.0.1:7373",
		"localhost":     "localhost:7373",
		"example.net:0": "example.net:0",
		":7373":         ":7373",
		":http":         ":80",
		"[::1]:80":      "[::1]:80",
		"[::1]":         "[::1]:7373",
		"::1":           "[::1]:7373",
		"fe80::1%eth0":  "[fe80::1%eth0]:7373",
	} {
		if got, err := Address(text); got != want || err != nil {
			t.Errorf("Address(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "a b:1", "a:", "a:-1", "a:+1", "a:01", "a:65536", "::g", "http://x"} {
		if got, err := Address(text); err == nil {
			t.Errorf("Address(%q) = %q, want an error", text, got)
		}
	}
}

func TestPolicies(t *testing.T) {
	for text, want := range map[string]string{
		"timeout=4s":                              "sliding 4s; <nil>",
		"policy=fixed timeout=4s":                 "fixed 4s; <nil>",
		"timeout=4s probe-after=2s":               "sliding 4s probing after 2s; <nil>",
		"timeout=4s max-age=1h":                   "sliding 4s, max-age 1h0m0s; <nil>",
		"timeout=4s max-age=1h max-age-jitter=5m": "sliding 4s, max-age 1h0m0s+5m0s; <nil>",
		"transport=quic timeout=4s stream-policy=fixed stream-timeout=1s": "sliding 4s; fixed 1s",
	} {
		l, err := fromFlags(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := fmt.Sprintf("%v; %v", l.SessionPolicy(), l.StreamsPolicy()); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// The settings that differ if connections are forwarded.
func TestForward(t *testing.T) {
	for text, want := range map[string]string{
		"forward=a:1 forward=unix:/s":                        "[a:1 unix:/s] raw acks sliding 30s <nil> 0",
		"forward=a:1 codec=frame evidence=bytes timeout=1s":  "[a:1] frame bytes sliding 1s <nil> 0",
		"forward=a:1 evidence-from=either proxy-protocol=v2": "[a:1] raw acks sliding 30s sliding 30s 2",
		"forward=a:1 evidence-from=upstream max-age=1h":      "[a:1] raw acks sliding 30s of the upstream, max-age 1h0m0s sliding 30s 0",
		"": "[] auto bytes sliding 30s <nil> 0",
	} {
		l, err := fromFlags(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := fmt.Sprintf("%v %s %s %v %v %d", l.Forward[""], l.Codec, l.Evidence, l.SessionPolicy(), l.UpstreamPolicy(), l.ProxyVersion())
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	l, err := ParseURL("tcp://127.0.0.1:0?timeout=4s&forward=a:1&forward=unix:/s&accept-proxy=10.0.0.0/8&accept-proxy=::1&health=1s&evidence-from=client", handlers)
	if err != nil || fmt.Sprint(l.Forward[""], l.AcceptProxy, l.Health) != "[a:1 unix:/s] [10.0.0.0/8 ::1/128] 1s" {
		t.Errorf("%+v, %v", l, err)
	}
}

// Services may have names, and one name several addresses.
func TestForwardByName(t *testing.T) {
	l, err := fromFlags("forward=redis=a:1 forward=redis=unix:/a=b forward=unix:/c=d forward=x.y-z=b:2")
	if got := fmt.Sprint(l.Forward); err != nil || got != "map[:[unix:/c=d] redis:[a:1 unix:/a=b] x.y-z:[b:2]]" {
		t.Errorf("got %s, %v", got, err)
	}
	l, err = fromFlags("transport=quic service=ssh=:2222 timeout=4s opening=2s stream-policy=fixed stream-timeout=9s client-ca=x")
	if err != nil {
		t.Fatal(err)
	}
	s := l.ServiceListener("ssh")
	if got := fmt.Sprint(s.Transport, " ", s.Address, " ", s.Evidence, s.Codec, s.TLS, s.ClientCA, s.SessionPolicy(), s.StreamsPolicy(), s.Opening); got != "tcp :2222 acksrawfalsesliding 4s <nil> 4s" {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{"=a:1", "-=a:1", "a b=a:1", strings.Repeat("x", 257) + "=a:1"} {
		err := new(Listener).addForward(bad)
		if err == nil || !strings.HasPrefix(err.Error(), "a service's name has letters") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The error names an invalid variable, since it is not visible on the command line.
func TestVariables(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"transport", "foo", `unknown transport "foo" in LIVENET_X: there are quic, tcp and yamux`},
		{"timeout", "x", `LIVENET_X "x": want a duration, such as 500ms, 4s or 1h30m`},
		{"timeout", "1ms", "LIVENET_X 1ms: out of range: from 20ms to 87600h (ten years)"},
		{"opening", "1h", "LIVENET_X 1h has no effect: --timeout 30s ends a peer that says nothing before"},
	} {
		t.Setenv("LIVENET_X", test.value)
		l := new(Listener)
		err := newApp(l, map[string]string{test.name: "LIVENET_X"}).Run([]string{"test"})
		if err == nil || err.Error() != test.want {
			t.Errorf("%s=%s:\n got %v\nwant %s", test.name, test.value, err, test.want)
		}
	}
	t.Setenv("LIVENET_X", "4s")
	l := new(Listener)
	if err := newApp(l, map[string]string{"timeout": "LIVENET_X"}).Run([]string{"test"}); err != nil || l.Timeout != 4*time.Second {
		t.Errorf("%v, %v", l.Timeout, err)
	}
}

// A URL inherits nothing.
func TestURLTakesNoVariables(t *testing.T) {
	t.Setenv("LIVENET_TIMEOUT", "4s")
	if _, err := ParseURL("tcp://127.0.0.1:0", handlers); err == nil {
		t.Error("it took its timeout from elsewhere")
	}
}

// The names must not change: users have them in scripts and unit files.
func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range Flags(new(Listener), handlers) {
		name := f.Names()[0]
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		if f.(cli.DocGenerationFlag).GetUsage() == "" || f.(cli.CategorizableFlag).GetCategory() == "" {
			t.Errorf("%s has no help or no group", name)
		}
	}
	const names = "forward service token-file insecure-token health evidence-from proxy-protocol accept-proxy listen transport policy timeout opening max-age max-age-jitter probe-after evidence stream-policy stream-timeout codec handler tls tls-cert tls-key client-ca max-beats min-pace max-streams reuse-port io reset-key"
	want := make(map[string]bool)
	for _, name := range strings.Fields(names) {
		want[name] = true
	}
	if !maps.Equal(seen, want) {
		t.Errorf("names: %v", seen)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"timeout", "transport", "tls", "policy", "stream-timeout"}
	for name, want := range map[string]string{
		"timeot": "timeout", "tiemout": "timeout", "time-out": "timeout",
		"trasnport": "transport", "polic": "policy", "xyz": "", "colour": "", "": "", "streamtimeout": "stream-timeout",
	} {
		if got := Nearest(name, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
