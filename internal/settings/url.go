package settings

import (
	"fmt"
	"net/url"
	"strings"
)

// ParseURL reads a listener from a URL such as
//
//	quic://127.0.0.1:7374?policy=fixed&timeout=10s
//
// whose scheme is the transport and whose query holds settings by their names.
func ParseURL(text string) (*Listener, error) {
	transport, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, fmt.Errorf("want TRANSPORT://HOST:PORT?timeout=30s")
	}
	// The address is cut off by hand: net/url has ideas of its own about ports
	// and zones, and its messages are no help.
	addr, query, _ := strings.Cut(rest, "?")
	addr = strings.TrimSuffix(addr, "/")
	values, err := parseQuery(query)
	if err != nil {
		return nil, err
	}
	values[nameTransport] = transport
	values[nameListen] = addr
	s := Source{Text: values, Spell: func(name string) string { return name }, Explicit: true}
	return s.Listener()
}

func parseQuery(query string) (map[string]string, error) {
	text := make(map[string]string)
	parsed, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("its query makes no sense: %w", err)
	}
	for name, values := range parsed {
		switch _, known := Lookup(name); {
		case name == nameTransport || name == nameListen:
			return nil, fmt.Errorf("%s has its place before the question mark", name)
		case !known:
			return nil, fmt.Errorf("unknown setting %q%s", name, didYouMean(name))
		case len(values) > 1:
			return nil, fmt.Errorf("%s is given %d times", name, len(values))
		}
		if s, _ := Lookup(name); s.Value == "" && values[0] == "" {
			values[0] = "true" // a switch that is named is on
		}
		text[name] = values[0]
	}
	return text, nil
}

func didYouMean(name string) string {
	var names []string
	for _, s := range All {
		if s.Name != nameTransport && s.Name != nameListen {
			names = append(names, s.Name)
		}
	}
	if near := Nearest(name, names); near != "" {
		return fmt.Sprintf(": did you mean %s?", near)
	}
	return ": there are " + Enumerate(names)
}
