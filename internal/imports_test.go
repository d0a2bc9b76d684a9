package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/livenet/livenet/"

// The arrows of docs/design.md: what each part of the tree may import of the
// rest of the module. A part is a folder and all below it.
var arrows = []struct {
	part string
	may  []string
}{
	{"transport/tcp", []string{"transport", "transport/internal"}},
	{"transport/quic", []string{"transport", "transport/internal"}},
	{"transport/yamux", []string{"transport"}},
	{"transport/transporttest", []string{"transport"}},
	{"transport/internal", nil},
	{"transport", nil},
	{"codec", nil},
	{"liveness", []string{"codec", "transport"}},
	{"internal", []string{"internal", "liveness", "codec", "transport", "transport/tcp", "transport/quic", "transport/yamux"}},
	{"cmd", []string{"internal", "liveness", "codec", "transport", "transport/tcp", "transport/quic", "transport/yamux"}},
	{"examples", []string{"liveness", "codec", "transport", "transport/tcp", "transport/quic", "transport/yamux"}},
}

// The libraries that a part, and thereby its importers, may bring in.
var libraries = map[string][]string{
	"transport":               {},
	"transport/tcp":           {"golang.org/x/sys/unix"},
	"transport/internal":      {"golang.org/x/sys/unix"},
	"transport/transporttest": {"golang.org/x/net/nettest", "go.uber.org/goleak"},
	"codec":                   {},
	"liveness":                {"golang.org/x/sys/unix"},
}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestImportsFollowTheArrows(t *testing.T) {
	for _, p := range list(t) {
		path, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			continue
		}
		part, may := partOf(path)
		if part == "" {
			t.Errorf("%s: the tree has no such part", path)
		}
		for _, i := range p.Imports {
			if own, ok := strings.CutPrefix(i, module); ok {
				if to, _ := partOf(own); to != part && !slices.Contains(may, to) {
					t.Errorf("%s imports %s", path, own)
				}
				continue
			}
			allowed, limited := libraries[part]
			if limited && strings.Contains(strings.Split(i, "/")[0], ".") && !slices.Contains(allowed, i) {
				t.Errorf("%s imports %s", path, i)
			}
		}
	}
}

// partOf is the first, and so the narrowest, part that path lies in.
func partOf(path string) (string, []string) {
	for _, a := range arrows {
		if path == a.part || strings.HasPrefix(path, a.part+"/") {
			return a.part, a.may
		}
	}
	return "", nil
}

func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Standard", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
