package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The children are this program again, which here is the test.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// Everything runs, little of it, and leaves every table and plot whole.
func TestShortRun(t *testing.T) {
	folder := t.TempDir()
	if err := run(t.Context(), []string{"-short", "-out", folder}, t.Output(), t.Output()); err != nil {
		t.Fatal(err)
	}
	r, err := load(filepath.Join(folder, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ways {
		wantFigures(t, r, familyDeadlines, w.name, renewTime, coreShare)
		if w.ours {
			// It holds on a machine as busy as you like.
			if row := r.row(familyDeadlines, w.name); row.worst(early) != 0 {
				t.Errorf("%s: %v expiries were too early, by up to %v ms", w.name, row.worst(early), row.worst(earliest))
			}
		}
	}
	for _, k := range kinds {
		wantFigures(t, r, familyIdle, k.name, residentBytes, beatenBytes, beatShare)
	}
	for _, f := range families {
		page := read(t, folder, f.name+".md")
		for _, row := range r.family(f.name) {
			if !strings.Contains(page, row.Name) {
				t.Errorf("%s.md says nothing of %s", f.name, row.Name)
			}
		}
		for _, p := range f.plots {
			svg := read(t, folder, p.name+".svg")
			if err := wellFormed(svg); err != nil {
				t.Errorf("%s.svg: %v", p.name, err)
			}
			if !strings.Contains(page, "("+p.name+".svg)") {
				t.Errorf("%s.md does not show %s.svg", f.name, p.name)
			}
		}
	}
	t.Run("Again", func(t *testing.T) { testFrom(t, folder) })
}

// The results alone give the same tables and plots once more.
func testFrom(t *testing.T, folder string) {
	again := t.TempDir()
	if err := run(t.Context(), []string{"-from", filepath.Join(folder, "results.json"), "-out", again}, t.Output(), t.Output()); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		name = filepath.Base(name)
		if read(t, folder, name) != read(t, again, name) {
			t.Errorf("%s differs", name)
		}
	}
}

func wantFigures(t *testing.T, r *report, family, name string, want ...figure) {
	t.Helper()
	row := r.row(family, name)
	for _, f := range want {
		if len(row.Figures[f]) != short.Runs {
			t.Errorf("%s: %d samples of %s, want %d", name, len(row.Figures[f]), f, short.Runs)
		}
	}
}

func read(t *testing.T, folder, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wellFormed(svg string) error {
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Who interrupts a run gets what there is, on standard output; the folder
// keeps what it had.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var stdout bytes.Buffer
	folder := t.TempDir()
	// The second way is under way when the first has been said to be.
	stderr := writer(func(p []byte) {
		if strings.Contains(string(p), "Lease.Renew: ") {
			cancel()
		}
	})
	if err := run(ctx, []string{"-short", "-out", folder}, &stdout, stderr); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout.String(), "| "+bare+" |") {
		t.Errorf("no table has the first row:\n%s", &stdout)
	}
	if files, _ := os.ReadDir(folder); len(files) > 0 {
		t.Errorf("%d files were written", len(files))
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func TestBadArguments(t *testing.T) {
	for _, args := range []string{"-runs 0", "-match [", "-family none", "-beat 10ms", "word", "-from nowhere.json"} {
		if err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}

// One that fails is said to have failed; the others are measured.
func TestOneFails(t *testing.T) {
	defer func(all []way) { ways = all }(ways)
	broken := errors.New("broken")
	ways = append(slices.Clip(ways[:1]), way{name: "broken", open: func(plan) (keeper, error) { return nil, broken }})
	var stdout bytes.Buffer
	err := run(t.Context(), []string{"-short", "-family", familyDeadlines}, &stdout, t.Output())
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if !strings.Contains(stdout.String(), "| "+bare+" |") {
		t.Errorf("no table has what worked:\n%s", &stdout)
	}
}

func TestUnits(t *testing.T) {
	for _, test := range []struct {
		unit  unit
		value float64
		want  string
	}{
		{nanosecond, 1.93, "1.9 ns"},
		{nanosecond, 60, "60.0 ns"},
		{nanosecond, 1471.6, "1,472 ns"},
		{nanosecond, -1471.6, "-1,472 ns"},
		{kibibyte, 4096, "4.0 KiB"},
		{percent, 0.0249, "2.5 %"},
		{percent, 0.0004, "0.04 %"},
		{percent, -0.006, "-0.6 %"},
		{millisecond, 0, "0 ms"},
		{one, 12345678, "12,345,678"},
		{one, 1.5, "1.5"},
	} {
		if got := test.unit.show(test.value); got != test.want {
			t.Errorf("%v in %q: %q, want %q", test.value, test.unit.name, got, test.want)
		}
	}
}

// Whatever is plotted, bars fit in and the axis has a few ticks.
func TestAxis(t *testing.T) {
	for _, values := range [][]float64{
		nil, {0}, {-1, 0}, {1}, {0.004, 0.0041}, {3, 7, 9}, {24, 960}, {0.3, 1500}, {-2, 5, 10},
	} {
		x := newAxis(values, 500)
		if n := len(x.ticks); n < 1 || n > 8 {
			t.Errorf("%v: %d ticks: %v", values, n, x.ticks)
		}
		for _, v := range append(values, x.ticks...) {
			if at := x.at(v); !(at >= 0 && at <= 500) {
				t.Errorf("%v: %v is at %v", values, v, at)
			}
		}
	}
}
