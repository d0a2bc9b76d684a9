package settings

import (
	"io"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"
)

// The two settings that are not in the query of a URL.
const (
	nameTransport = "transport"
	nameListen    = "listen"
)

const (
	nameForward = "forward"
	nameService = "service"

	nameToken         = "token-file"
	nameInsecureToken = "insecure-token"
)

// urlApp is the name of the app that parses a URL: see [Spell].
const urlApp = "listener URL"

// ParseURL reads a listener from a URL such as
//
//	quic://127.0.0.1:7374?policy=fixed&timeout=10s
//
// The scheme is the transport, and the query has flags of a listener by their names. They are
// parsed and checked as on the command line; variables are ignored.
func ParseURL(text string, handlers []string) (*Listener, error) {
	l := new(Listener)
	app := &cli.App{
		Name: urlApp,

		SliceFlagSeparator: " ",
		Flags:              Flags(l, handlers),
		HideHelp:           true,
		Writer:             io.Discard,
		OnUsageError:       Explain,
		ExitErrHandler:     func(*cli.Context, error) {}, // the caller handles errors
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

// urlArgs converts a URL to a command line.
func urlArgs(text string, flags []cli.Flag) ([]string, error) {
	transport, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, Usage("want TRANSPORT://HOST:PORT?timeout=30s")
	}
	// Not net/url: it rejects names of services and zones, and its messages don't help.
	addr, query, _ := strings.Cut(rest, "?")
	parsed, err := url.ParseQuery(query)
	if err != nil {
		return nil, Usage("its query is invalid: %w", err)
	}
	args := []string{"--" + nameTransport + "=" + transport, "--" + nameListen + "=" + strings.TrimSuffix(addr, "/")}
	for name, values := range parsed {
		f := find(flags, name)
		switch {
		case name == nameTransport || name == nameListen:
			return nil, Usage("%s belongs before the question mark", name)
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
