package main

import (
	"context"
	"strings"
	"syscall"
	"testing"
)

// A full disk takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// What a command says on its standard output is its work: if it can't be
// written, the command has failed, whatever else it did.
func TestUnwrittenOutput(t *testing.T) {
	for _, args := range []string{
		"",
		"--help",
		"version",
		"serve --help",
		"bench",
		"bench renew --help",
		"demo --speed 40",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			lookup := func(name string) (string, bool) { return "", false }
			p := &process{stdin: tr.stdin, stdout: full{}, stderr: tr.stderr, lookupEnv: lookup, hurry: tr.hurry}
			status := run(context.Background(), p, strings.Fields(args))
			if status != statusFailed {
				t.Errorf("exit status %d", status)
			}
			said := tr.stderr.String()
			if want := "can't write: no space left on device\n"; !strings.HasPrefix(said, "livenet") || !strings.HasSuffix(said, want) {
				t.Errorf("it said %q", said)
			}
		})
	}
}
