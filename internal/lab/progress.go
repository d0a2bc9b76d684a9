package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A progress shows how far an experiment is: a bar, drawn in place, on a
// terminal, and elsewhere a line every ten seconds. A nil progress shows nothing.
type progress struct {
	w     io.Writer
	name  string
	bar   bool
	began time.Time

	mu    sync.Mutex
	what  string
	share float64

	quit, ended chan struct{}
}

// startProgress starts showing. It ends with close.
func startProgress(w io.Writer, name string) *progress {
	f, ok := w.(*os.File)
	p := &progress{
		w: w, name: name, bar: ok && term.IsTerminal(int(f.Fd())), began: time.Now(),
		quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go p.run()
	return p
}

// step says what is being done, and which share of the whole is behind.
func (p *progress) step(share float64, format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.share = fmt.Sprintf(format, args...), min(1, max(0, share))
}

func (p *progress) run() {
	defer close(p.ended)
	every := 10 * time.Second
	if p.bar {
		every = 100 * time.Millisecond
		defer io.WriteString(p.w, "\r\x1b[K")
	}
	for tick := time.NewTicker(every); ; {
		select {
		case <-tick.C:
			io.WriteString(p.w, p.line(time.Since(p.began)))
		case <-p.quit:
			tick.Stop()
			return
		}
	}
}

const barCells = 20

func (p *progress) line(elapsed time.Duration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seconds := elapsed.Round(time.Second)
	if !p.bar {
		return fmt.Sprintf("%s %3.0f %% after %v: %s\n", p.name, 100*p.share, seconds, p.what)
	}
	full := int(p.share * barCells)
	return fmt.Sprintf("\r\x1b[K%s %s%s %3.0f %% %5v  %.40s", p.name,
		strings.Repeat("=", full), strings.Repeat("-", barCells-full), 100*p.share, seconds, p.what)
}

func (p *progress) close() {
	close(p.quit)
	<-p.ended
}
