package settings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
)

// A Setting is one thing that a listener can be told.
type Setting struct {
	Name    string // of the flag, and in a URL's query
	Group   string // under which the help lists it
	Value   string // what stands for its value in the help; empty: a switch
	Default string // as it would be written; empty: none
	Help    string

	set setter
}

// A setter reads text into l. spelled is how the user wrote the name.
type setter func(l *Listener, spelled, text string) error

// Groups of settings, in the order of the help.
const (
	GroupListener = "Listener"
	GroupPolicy   = "Policy"
	GroupTLS      = "TLS"
)

// The two settings that a URL has other places for.
const (
	nameTransport = "transport"
	nameListen    = "listen"
)

// All is the table of settings.
var All = []Setting{
	{nameListen, GroupListener, "ADDR", DefaultHost + ":" + DefaultPort,
		"where to listen; port 0 takes a free one", setAddress},
	{nameTransport, GroupListener, "NAME", "tcp",
		"quic, tcp or yamux", oneOf(stack.Names, func(l *Listener) *string { return &l.Transport })},
	{"codec", GroupListener, "NAME", "auto",
		"auto, frame, line or raw; auto tells frame from raw", setCodec},
	{"handler", GroupListener, "NAME", "echo",
		"echo, discard, or log: write what comes to stdout", oneOf(handlers, func(l *Listener) *string { return &l.Handler })},
	{"io", GroupListener, "NAME", IOAuto,
		"what waits for an idle connection: goroutine, or parked: nothing of its own (tcp on Linux); auto parks where it can", oneOf(ios, func(l *Listener) *string { return &l.IO })},
	{"max-streams", GroupListener, "N", fmt.Sprint(liveness.DefaultMaxStreams),
		"streams of a session that are served at a time; further ones wait (quic, yamux)", setCount(mostStreams, func(l *Listener) *int { return &l.MaxStreams })},
	{"reuse-port", GroupListener, "", "",
		"share the port with other processes of this user that do so, too", setSwitch(func(l *Listener) *bool { return &l.ReusePort })},

	{"policy", GroupPolicy, "NAME", Sliding,
		"sliding: from the last sign of life; fixed: from accept", oneOf(policies, func(l *Listener) *string { return &l.Policy })},
	{"timeout", GroupPolicy, "DURATION", "30s",
		"the policy's timeout", setTimeout(func(l *Listener) *time.Duration { return &l.Timeout })},
	{"opening", GroupPolicy, "DURATION", "10s",
		"time for a peer to be heard at all; no longer than the timeout", setDuration(func(l *Listener) *time.Duration { return &l.Opening })},
	{"max-age", GroupPolicy, "DURATION", "",
		"end sessions of this age, however lively", setDuration(func(l *Listener) *time.Duration { return &l.MaxAge })},
	{"max-age-jitter", GroupPolicy, "DURATION", "",
		"and up to so much later, at random", setDuration(func(l *Listener) *time.Duration { return &l.MaxAgeJitter })},
	{"probe-after", GroupPolicy, "DURATION", "",
		"ask a peer that has been silent for so long", setDuration(func(l *Listener) *time.Duration { return &l.ProbeAfter })},
	{"evidence", GroupPolicy, "KIND", "bytes",
		"what shows that a peer lives: bytes, messages or beats", setEvidence},
	{"max-beats", GroupPolicy, "N", "",
		"heartbeats a second that a peer may send (default: 100, or more if the timeout asks for more)", setCount(mostBeats, func(l *Listener) *int { return &l.MaxBeats })},
	{"stream-policy", GroupPolicy, "NAME", "",
		"a policy for each stream as well (quic, yamux)", oneOf(policies, func(l *Listener) *string { return &l.StreamPolicy })},
	{"stream-timeout", GroupPolicy, "DURATION", "",
		"its timeout", setTimeout(func(l *Listener) *time.Duration { return &l.StreamTimeout })},

	{"tls", GroupTLS, "", "",
		"TLS for tcp and yamux; quic always has it", setSwitch(func(l *Listener) *bool { return &l.TLS })},
	{"tls-cert", GroupTLS, "FILE", "",
		"certificate chain, PEM (default: a development certificate)", setFile(func(l *Listener) *string { return &l.Cert })},
	{"tls-key", GroupTLS, "FILE", "",
		"its private key, PEM", setFile(func(l *Listener) *string { return &l.Key })},
	{"client-ca", GroupTLS, "FILE", "",
		"have clients show a certificate of these authorities, PEM", setFile(func(l *Listener) *string { return &l.ClientCA })},
}

var (
	handlers = []string{"discard", "echo", "log"}
	policies = []string{Fixed, Sliding}
	ios      = []string{IOAuto, IOGoroutine, IOParked}
	codecs   = []string{"auto", "frame", "line", "raw"}
	evidence = []string{"bytes", "messages", "beats"} // by codec.Evidence
)

// Lookup finds a setting by its name.
func Lookup(name string) (Setting, bool) {
	i := slices.IndexFunc(All, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return Setting{}, false
	}
	return All[i], true
}

const variablePrefix = "LIVENET_"

// Variable is the environment variable of a name.
func Variable(name string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// oneOf takes one of a few names.
func oneOf(names []string, field func(*Listener) *string) setter {
	return func(l *Listener, spelled, text string) error {
		if !slices.Contains(names, text) {
			return Unknown(spelled, text, names)
		}
		*field(l) = text
		return nil
	}
}

// Unknown is the error of a name that is none of those that there are. spelled
// is the setting: one that was given as a variable is named, since nobody sees
// it on the command line.
func Unknown(spelled, text string, names []string) error {
	where := ""
	name, isVariable := strings.CutPrefix(spelled, variablePrefix)
	if isVariable {
		where = " in " + spelled
	}
	what := strings.NewReplacer("-", " ", "_", " ").Replace(strings.ToLower(strings.TrimLeft(name, "-")))
	return fmt.Errorf("unknown %s %q%s: there are %s", what, text, where, Enumerate(names))
}

// Enumerate is "a, b and c".
func Enumerate(names []string) string {
	last := len(names) - 1
	if last <= 0 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func setAddress(l *Listener, spelled, text string) (err error) {
	if l.Address, err = Address(text); err != nil {
		return fmt.Errorf("%s %w", spelled, err)
	}
	return nil
}

func setCodec(l *Listener, spelled, text string) (err error) {
	if l.Codec, err = codec.ByName(text); err != nil {
		return Unknown(spelled, text, codecs)
	}
	return nil
}

func setEvidence(l *Listener, spelled, text string) error {
	i := slices.Index(evidence, text)
	if i < 0 {
		return Unknown(spelled, text, evidence)
	}
	l.Evidence = codec.Evidence(i)
	return nil
}

func setDuration(field func(*Listener) *time.Duration) setter {
	return func(l *Listener, spelled, text string) (err error) {
		if *field(l), err = Duration(text); err != nil {
			return fmt.Errorf("%s %w", spelled, err)
		}
		return nil
	}
}

// setTimeout is setDuration for what no policy can be without.
func setTimeout(field func(*Listener) *time.Duration) setter {
	return func(l *Listener, spelled, text string) error {
		if d, err := time.ParseDuration(text); text == "" || err == nil && d == 0 {
			return fmt.Errorf("a policy needs a timeout: give %s a duration, such as 30s", spelled)
		}
		return setDuration(field)(l, spelled, text)
	}
}

// These are more than a peer could have a use for.
const (
	mostBeats   = 1_000_000
	mostStreams = 1_000_000
)

func setCount(most int, field func(*Listener) *int) setter {
	return func(l *Listener, spelled, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return fmt.Errorf("%s %q: want a number from 1 to %d", spelled, text, most)
		}
		*field(l) = n
		return nil
	}
}

func setSwitch(field func(*Listener) *bool) setter {
	return func(l *Listener, spelled, text string) (err error) {
		if *field(l), err = strconv.ParseBool(text); err != nil {
			return fmt.Errorf("%s %q: want true or false", spelled, text)
		}
		return nil
	}
}

func setFile(field func(*Listener) *string) setter {
	return func(l *Listener, spelled, text string) error {
		if text == "" {
			return fmt.Errorf("%s is empty: want the name of a file", spelled)
		}
		*field(l) = text
		return nil
	}
}
