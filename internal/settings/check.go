package settings

import (
	"fmt"
	"runtime"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/liveness"
)

// check finds what contradicts itself.
func (s *Source) check(l *Listener) error {
	for _, check := range []func(*Listener) error{
		s.checkStreams, s.checkMaxStreams, s.checkAges, s.checkProbe, s.checkEvidence, s.checkBeats, s.checkTLS, s.checkIO,
	} {
		if err := check(l); err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) checkStreams(l *Listener) error {
	policy, timeout := s.Spell("stream-policy"), s.Spell("stream-timeout")
	switch {
	case l.StreamPolicy == "" && l.StreamTimeout == 0:
		return nil
	case !stack.Multiplexes(l.Transport):
		return fmt.Errorf("%s: a session over %s is one stream: %s judges it", s.first("stream-policy", "stream-timeout"), l.Transport, s.Spell("policy"))
	case l.StreamTimeout == 0:
		return fmt.Errorf("a policy needs a timeout: %s goes with %s", policy, timeout)
	case l.StreamPolicy == "":
		return fmt.Errorf("%s has no policy to go with: add %s", timeout, policy)
	}
	return nil
}

func (s *Source) checkMaxStreams(l *Listener) error {
	if s.given("max-streams") && !stack.Multiplexes(l.Transport) {
		return fmt.Errorf("%s has no effect: a session over %s is one stream", s.with("max-streams"), l.Transport)
	}
	return nil
}

func (s *Source) checkAges(l *Listener) error {
	timeout := s.with("timeout")
	switch {
	case s.given("opening") && l.Opening > l.Timeout:
		return fmt.Errorf("%s has no effect: %s ends a peer that says nothing before", s.with("opening"), timeout)
	case l.MaxAgeJitter > 0 && l.MaxAge == 0:
		return fmt.Errorf("%s has nothing to vary: add %s", s.Spell("max-age-jitter"), s.Spell("max-age"))
	case l.MaxAge > 0 && l.Policy == Fixed && l.MaxAge >= l.Timeout:
		return fmt.Errorf("%s is never reached: the fixed policy ends sessions at %s", s.with("max-age"), timeout)
	}
	return nil
}

func (s *Source) checkProbe(l *Listener) error {
	probe := s.with("probe-after")
	switch {
	case l.ProbeAfter == 0:
		return nil
	case l.Policy == Fixed:
		return fmt.Errorf("%s makes no sense with the fixed policy: an answer would change nothing", probe)
	case l.ProbeAfter >= l.Timeout:
		return fmt.Errorf("%s must be below %s: there would be no time to answer", probe, s.with("timeout"))
	case l.Codec == codec.Raw:
		return fmt.Errorf("%s makes no sense with the raw codec: it has no way to ask; line, frame and auto have", probe)
	}
	return nil
}

func (s *Source) checkEvidence(l *Listener) error {
	if l.Codec == codec.Raw && l.Evidence != codec.Bytes {
		return fmt.Errorf("%s makes no sense with the raw codec: it knows bytes only", s.with("evidence"))
	}
	return nil
}

// checkBeats sees to it that a client that does what it is asked to is not
// ended for it.
func (s *Source) checkBeats(l *Listener) error {
	if l.MaxBeats > 0 && l.MaxBeats < beatsAsked(l) {
		return fmt.Errorf("%s is too few: with this timeout clients are asked for up to %d a second", s.with("max-beats"), beatsAsked(l))
	}
	return nil
}

// beatsAsked is how many heartbeats a second the listener makes its clients
// send at most: three a timeout, or one more for every question, which is
// answered.
func beatsAsked(l *Listener) int {
	d := time.Duration(0)
	if l.Policy == Sliding {
		d = l.Timeout
	}
	if l.StreamPolicy == Sliding && (d == 0 || l.StreamTimeout < d) {
		d = l.StreamTimeout
	}
	if d == 0 {
		return 0
	}
	const perTimeout = 4
	return int(perTimeout*time.Second/d) + 1
}

func (s *Source) checkTLS(l *Listener) error {
	off := s.given("tls") && !l.TLS
	switch {
	case l.Cert != "" && l.Key == "":
		return fmt.Errorf("%s is without its key: add %s", s.Spell("tls-cert"), s.Spell("tls-key"))
	case l.Key != "" && l.Cert == "":
		return fmt.Errorf("%s is without its certificate: add %s", s.Spell("tls-key"), s.Spell("tls-cert"))
	case off && stack.AlwaysTLS(l.Transport):
		return fmt.Errorf("%s can't be false: %s always has TLS", s.Spell("tls"), l.Transport)
	case off && l.Cert != "":
		return fmt.Errorf("%s has no effect where %s is false", s.Spell("tls-cert"), s.Spell("tls"))
	case l.ClientCA != "" && !l.TLS && l.Cert == "" && !stack.AlwaysTLS(l.Transport):
		return fmt.Errorf("%s needs TLS: add %s", s.Spell("client-ca"), s.Spell("tls"))
	}
	return nil
}

func (s *Source) checkIO(l *Listener) error {
	if l.IO == IOParked && !stack.Parks(l.Transport) {
		return fmt.Errorf("%s can't be had: only tcp on Linux parks, and this is %s on %s", s.with("io"), l.Transport, runtime.GOOS)
	}
	return nil
}

// settle fills in what follows from the rest.
func (l *Listener) settle() {
	l.TLS = l.TLS || l.Cert != "" || stack.AlwaysTLS(l.Transport)
	l.Opening = min(l.Opening, l.Timeout)
	if l.MaxBeats == 0 {
		l.MaxBeats = max(liveness.DefaultMaxBeats, beatsAsked(l))
	}
}

// with is a setting and its value, as the user wrote them, or would have.
func (s *Source) with(name string) string {
	text, given := s.Text[name]
	if setting, _ := Lookup(name); !given {
		text = setting.Default
	}
	return s.Spell(name) + " " + text
}

// first spells the first of names that was given.
func (s *Source) first(names ...string) string {
	for _, name := range names {
		if s.given(name) {
			return s.Spell(name)
		}
	}
	return s.Spell(names[0])
}
