package settings

import "fmt"

// A Source is where the settings of one listener come from.
type Source struct {
	// Text is what was given, by the settings' names.
	Text map[string]string

	// Spell is how the user wrote, or would write, a setting's name: with two
	// dashes, as a variable, or as it is. Messages use it.
	Spell func(name string) string

	// Explicit turns the default timeout off: it has to be given.
	Explicit bool
}

// Listener reads the settings, the defaults of the others included, and checks
// that they go together.
func (s *Source) Listener() (*Listener, error) {
	l := new(Listener)
	for _, setting := range All {
		text, given := s.Text[setting.Name]
		if !given {
			if text = setting.Default; text == "" {
				continue
			}
		}
		if err := setting.set(l, s.Spell(setting.Name), text); err != nil {
			return nil, err
		}
	}
	if s.Explicit && !s.given("timeout") {
		return nil, fmt.Errorf("a policy needs a timeout: add %s=30s, for instance", s.Spell("timeout"))
	}
	if err := s.check(l); err != nil {
		return nil, err
	}
	l.settle()
	return l, nil
}

func (s *Source) given(name string) bool {
	_, ok := s.Text[name]
	return ok
}
