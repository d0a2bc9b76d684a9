package main

import (
	"bufio"
	"encoding/json"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A figure is the name of something measured.
type figure string

const (
	renewTime     figure = "renew-ns"          // per renewal, one after the other, in random order
	renewAllocs   figure = "renew-allocs"      // likewise
	loadedBytes   figure = "entry-bytes-after" // per entry, after the load
	coreShare     figure = "core-share"        // of one core, under the load, above the bare loop
	early         figure = "early"             // entries that expired before their deadline
	earliest      figure = "earliest-ms"       // by how much, at most
	lateP50       figure = "late-p50-ms"
	lateP99       figure = "late-p99-ms"
	lateMax       figure = "late-max-ms"
	lost          figure = "lost"                 // entries that did not expire at all
	residentBytes figure = "resident-bytes"       // per session, when it has been opened
	beatenBytes   figure = "resident-bytes-after" // per session, when it has beaten for a while
	heapBytes     figure = "heap-bytes"           // likewise
	stackBytes    figure = "stack-bytes"          // likewise
	goroutines    figure = "goroutines"           // likewise
	beatShare     figure = "core-share-of-1000"   // of one core, for 1,000 sessions that beat
)

// A results is everything that peers measured, and where. Pages and plots are
// made of nothing else.
type results struct {
	Taken    time.Time         `json:"taken"`
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Plan     plan              `json:"plan"`
	Rows     []*row            `json:"rows"`
}

// A plan is how much was measured.
type plan struct {
	Runs int `json:"runs"`

	Entries  int           `json:"entries"`
	Conns    int           `json:"conns"`
	Timeout  time.Duration `json:"timeout"`
	Renewals int           `json:"renewals"`
	Rate     int           `json:"rate"`
	Window   time.Duration `json:"window"`
	Expiries int           `json:"expiries"`
	Spread   time.Duration `json:"expire-in"`

	Sessions     int           `json:"sessions"`
	QUICSessions int           `json:"quic-sessions"`
	Beat         time.Duration `json:"beat"`
	Settle       time.Duration `json:"settle"`
}

type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	System string `json:"system"`
	Go     string `json:"go"`

	// Load is the load average when it all began: on a machine that has other
	// things to do, figures are theirs as well.
	Load float64 `json:"load"`
}

// A row is one of those compared. Its figures hold a sample from each run.
type row struct {
	Family  string               `json:"family"`
	Name    string               `json:"name"`
	Ours    bool                 `json:"ours"`
	N       int                  `json:"n"`              // entries, or sessions
	Note    string               `json:"note,omitempty"` // what its renewal, or its beat, is
	Figures map[figure][]float64 `json:"figures"`
}

func newResults(p plan) *results {
	return &results{Taken: time.Now().Truncate(time.Second), Machine: thisMachine(), Versions: versions(), Plan: p}
}

func readResults(file string) (*results, error) {
	r := new(results)
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, r)
	}
	return r, err
}

// row is the row of a name, which is added if there is none.
func (r *results) row(family, name string) *row {
	for _, w := range r.Rows {
		if w.Family == family && w.Name == name {
			return w
		}
	}
	w := &row{Family: family, Name: name, Figures: make(map[figure][]float64)}
	r.Rows = append(r.Rows, w)
	return w
}

func (r *results) family(name string) []*row {
	var rows []*row
	for _, w := range r.Rows {
		if w.Family == name {
			rows = append(rows, w)
		}
	}
	return rows
}

func (w *row) add(f figure, v float64) { w.Figures[f] = append(w.Figures[f], v) }

func (w *row) has(f figure) bool { return len(w.Figures[f]) > 0 }

// median is the middle sample, or the higher one of the two in the middle.
func (w *row) median(f figure) float64 {
	s := slices.Sorted(slices.Values(w.Figures[f]))
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2]
}

// worst is the highest sample: of every figure here less is better.
func (w *row) worst(f figure) float64 {
	if !w.has(f) {
		return 0
	}
	return slices.Max(w.Figures[f])
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel, _, _ = strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Load = float64(info.Loads[0]) / (1 << 16) // fixed point, SI_LOAD_SHIFT
	}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	return m
}

// compared are the modules whose versions a reader wants to know.
var compared = []string{
	"github.com/RussellLuo/timingwheel",
	"github.com/hashicorp/yamux",
	"github.com/lesismal/nbio",
	"github.com/panjf2000/gnet/v2",
	"github.com/quic-go/quic-go",
	"github.com/xtaci/smux",
	"google.golang.org/grpc",
}

func versions() map[string]string {
	v := make(map[string]string)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, m := range info.Deps {
		if slices.Contains(compared, m.Path) {
			v[m.Path] = m.Version
		}
	}
	return v
}
