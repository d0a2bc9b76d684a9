// Benchdiff compares what two runs of Go's benchmarks say of memory, and fails
// if it has grown:
//
//	go test -bench . ./... > before.txt    # in the tree as it was
//	go test -bench . ./... > after.txt
//	go run ./internal/benchdiff before.txt after.txt
//
// It looks at allocations per operation and at bytes per lease, connection or
// stream, which are the same on every machine, and not at times, which are not.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: benchdiff BEFORE AFTER")
		os.Exit(2)
	}
	before, err := readFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchdiff:", err)
		os.Exit(2)
	}
	after, err := readFile(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchdiff:", err)
		os.Exit(2)
	}
	if !report(os.Stdout, before, after) {
		os.Exit(1)
	}
}

// figures are what is compared: by benchmark and unit, the least of its runs,
// which is the one that nothing else disturbed.
type figures map[string]float64

// watched are the units that are compared, with the share by which each may
// grow before it counts: the heap has its rounding.
var watched = map[string]float64{
	"allocs/op": 0,
	"B/lease":   0.01,
	"B/conn":    0.01,
	"B/stream":  0.01,
}

func readFile(name string) (figures, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f)
}

// processors is what the name of a benchmark ends in.
var processors = regexp.MustCompile(`-\d+$`)

func read(r io.Reader) (figures, error) {
	all := make(figures)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		// The name, the number of operations, and then pairs.
		for i := 2; i+1 < len(words); i += 2 {
			unit := words[i+1]
			if _, ok := watched[unit]; !ok {
				continue
			}
			value, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", lines.Text(), err)
			}
			key := processors.ReplaceAllString(words[0], "") + " " + unit
			if old, ok := all[key]; !ok || value < old {
				all[key] = value
			}
		}
	}
	return all, lines.Err()
}

// report tells of every figure that has changed, and returns false if one has
// grown, or there is none. One that was not there before can't have.
func report(w io.Writer, before, after figures) bool {
	var names []string
	for name := range after {
		if _, ok := before[name]; ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	ok := true
	for _, name := range names {
		old, now := before[name], after[name]
		unit := name[strings.LastIndex(name, " ")+1:]
		switch {
		case now > old*(1+watched[unit]):
			ok = false
			fmt.Fprintf(w, "%s: %v before, %v now: grown\n", name, old, now)
		case now < old*(1-watched[unit]):
			fmt.Fprintf(w, "%s: %v before, %v now\n", name, old, now)
		}
	}
	fmt.Fprintf(w, "%d figures compared\n", len(names))
	return ok && len(names) > 0 // or the benchmarks are not those that were meant
}
