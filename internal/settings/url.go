package settings

import (
	"io"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"
)

// The two settings that a URL has other places for.
const (
	nameTransport = "transport"
	nameListen    = "listen"
)

const nameForward = "forward"

// urlApp is the name of the app whose command line is made of a URL: see [Spell].
const urlApp = "listener URL"

// ParseURL reads a listener from a URL such as
//
//	quic://127.0.0.1:7374?policy=fixed&timeout=10s
//
// whose scheme is the transport and whose query holds flags of a listener by their
// names. They are parsed and checked as on the command line, but no variable counts.
func ParseURL(text string, handlers []string) (*Listener, error) {
	l := new(Listener)
	app := &cli.App{
		Name: urlApp,

		SliceFlagSeparator: " ",
		Flags:              Flags(l, handlers),
		HideHelp:           true,
		Writer:             io.Discard,
		OnUsageError:       Explain,
		ExitErrHandler:     func(*cli.Context, error) {}, // it is the caller's
		Action: func(c *cli.Context) error {
			if !c.IsSet("timeout") {
				return Usage("a policy needs a timeout: add timeout=30s, for instance")
			}
			return l.Check(c)
		},
	}
	args, err := urlArgs(text, app.Flags)
	if err != nil {
		return nil, err
	}
	return l, app.Run(append([]string{urlApp}, args...))
}

// urlArgs makes a command line of a URL.
func urlArgs(text string, flags []cli.Flag) ([]string, error) {
	transport, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, Usage("want TRANSPORT://HOST:PORT?timeout=30s")
	}
	// The address is cut off by hand: net/url has ideas of its own about ports
	// and zones, and its messages are no help.
	addr, query, _ := strings.Cut(rest, "?")
	parsed, err := url.ParseQuery(query)
	if err != nil {
		return nil, Usage("its query makes no sense: %w", err)
	}
	args := []string{"--" + nameTransport + "=" + transport, "--" + nameListen + "=" + strings.TrimSuffix(addr, "/")}
	for name, values := range parsed {
		f := find(flags, name)
		switch {
		case name == nameTransport || name == nameListen:
			return nil, Usage("%s has its place before the question mark", name)
		case len(values) > 1 && !isList(f):
			return nil, Usage("%s is given %d times", name, len(values))
		case f != nil && !f.TakesValue() && values[0] == "":
			values[0] = "true" // a switch that is named is on
		}
		for _, value := range values {
			args = append(args, "--"+name+"="+value)
		}
	}
	return args, nil
}

func isList(f cli.DocGenerationFlag) bool {
	s, ok := f.(cli.DocGenerationSliceFlag)
	return ok && s.IsSliceFlag()
}
