package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, transporttest.Config{
		New: func(t *testing.T) (server, client transport.Transport, addr string) {
			// Not t.TempDir, whose path has the name of the test in it.
			dir, err := os.MkdirTemp("", "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			return Unix{}, Unix{}, filepath.Join(dir, "s")
		},
	})
}

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "hello over a unix-domain socket\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}
