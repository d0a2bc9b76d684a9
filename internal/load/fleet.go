package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// A fleet is the workers of a run, at the coordinator's end. It is for one
// goroutine.
type fleet struct {
	command func() *exec.Cmd // a worker that is still to be started
	workers []*hand
	inbox   chan mail
	reading sync.WaitGroup
	ending  chan struct{} // closed: nobody reads the inbox any more
	starts  chan func()   // for the thread that starts the workers
	number  int           // of the latest report that was asked for
}

// A hand is a worker, as the coordinator knows it.
type hand struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	orders *json.Encoder
	stderr *tail
	killed bool          // that it ends is as it should be
	exited chan struct{} // closed when it has ended, and err says how
	err    error

	// What it has noted last:
	ready  bool
	served served
	usage  usage
	server serving
	client holding
	churn  churning
	report int // the number of its latest report
}

// mail is a note and who it is from.
type mail struct {
	from *hand
	note note
}

func newFleet(command func() *exec.Cmd) *fleet {
	f := &fleet{
		command: command,
		inbox:   make(chan mail, 64),
		ending:  make(chan struct{}),
		starts:  make(chan func()),
	}
	go func() {
		// The kernel takes a worker's parent for dead when the thread that
		// started it ends. This one ends with the fleet.
		runtime.LockOSThread()
		for start := range f.starts {
			start()
		}
	}()
	return f
}

// start starts a worker and makes it what the order says.
func (f *fleet) start(name string, o order) (*hand, error) {
	h := &hand{name: name, cmd: f.command(), stderr: new(tail), exited: make(chan struct{})}
	h.cmd.Stderr = h.stderr
	tie(h.cmd)
	stdin, err1 := h.cmd.StdinPipe()
	stdout, err2 := h.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	started := make(chan error)
	f.starts <- func() { started <- h.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("can't start a worker: %w", err)
	}
	h.stdin, h.orders = stdin, json.NewEncoder(stdin)
	f.workers = append(f.workers, h)
	f.reading.Go(func() { f.read(h, stdout) })
	h.send(o)
	return h, nil
}

// send sends an order. If that fails the worker has ended, which its reader
// will find.
func (h *hand) send(o order) { h.orders.Encode(o) }

// read passes a worker's notes on until it ends.
func (f *fleet) read(h *hand, stdout io.Reader) {
	for dec := json.NewDecoder(stdout); ; {
		var n note
		if dec.Decode(&n) != nil {
			break
		}
		f.pass(mail{h, n})
	}
	io.Copy(io.Discard, stdout) // lest it waits for someone to read
	h.err = h.cmd.Wait()
	close(h.exited)
	f.pass(mail{h, note{exited: true}})
}

func (f *fleet) pass(m mail) {
	select {
	case f.inbox <- m:
	case <-f.ending:
	}
}

// take waits for a note, remembers what it says, and returns. It fails when ctx
// ends, and when a worker does or gives up.
func (f *fleet) take(ctx context.Context) error {
	select {
	case m := <-f.inbox:
		return m.from.note(m.note)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// note remembers what a note says.
func (h *hand) note(n note) error {
	switch {
	case n.exited && h.killed:
	case n.exited:
		return fmt.Errorf("%s has ended: %s", h.name, h.ended())
	case n.Failed != "":
		return fmt.Errorf("%s: %s", h.name, n.Failed)
	case n.Ready != nil:
		h.ready, h.served = true, *n.Ready
	}
	if n.Report > h.report {
		h.report = n.Report
	}
	if n.Usage != nil {
		h.usage = *n.Usage
	}
	// What nobody has asked for tells of no ends; it does not make those of the
	// last answer untold.
	asked := n.Report > 0
	if n.Server != nil {
		ends := h.server.Ends
		if h.server = *n.Server; !asked {
			h.server.Ends = ends
		}
	}
	if n.Client != nil {
		ends := h.client.Ends
		if h.client = *n.Client; !asked {
			h.client.Ends = ends
		}
	}
	if n.Churn != nil {
		h.churn = *n.Churn
	}
	return nil
}

// ended is how a worker ended, and the last that it said.
func (h *hand) ended() string {
	how := "exit status 0"
	if h.err != nil {
		how = h.err.Error()
	}
	if said := h.stderr.last(); said != "" {
		how += ": " + said
	}
	return how
}

// await takes notes until done.
func (f *fleet) await(ctx context.Context, done func() bool) error {
	for !done() {
		if err := f.take(ctx); err != nil {
			return err
		}
	}
	return nil
}

// awaitReady waits until each of them has begun.
func (f *fleet) awaitReady(ctx context.Context, hands []*hand) error {
	return f.await(ctx, func() bool { return all(hands, func(h *hand) bool { return h.ready }) })
}

// ask has each of them report.
func (f *fleet) ask(ctx context.Context, hands []*hand, o reportOrder) error {
	f.number++
	o.Number = f.number
	for _, h := range hands {
		h.send(order{Report: &o})
	}
	return f.await(ctx, func() bool { return all(hands, func(h *hand) bool { return h.report >= o.Number }) })
}

func all(hands []*hand, is func(*hand) bool) bool {
	for _, h := range hands {
		if !is(h) {
			return false
		}
	}
	return true
}

// farewell is how long workers have to end that were asked to. A process that
// has very many sockets takes its time.
const farewell = 60 * time.Second

// goOnEvery is how often a worker is told to go on that does not end: it may
// have been stopped.
const goOnEvery = 100 * time.Millisecond

// end ends all workers, and returns when they have ended.
func (f *fleet) end() {
	close(f.ending)
	for _, h := range f.workers {
		h.stdin.Close()
	}
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	again := time.NewTicker(goOnEvery)
	defer again.Stop()
	for _, h := range f.workers {
		h.goOn()
		for waiting := true; waiting; {
			select {
			case <-h.exited:
				waiting = false
			case <-again.C:
				h.goOn() // it may be one that stops itself
			case <-timer.C:
				timer.Reset(0) // nor is there any patience with the others
				h.cmd.Process.Kill()
				<-h.exited
				waiting = false
			}
		}
	}
	f.reading.Wait()
	close(f.starts)
}

// A tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailLength = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if n := len(t.text) - tailLength; n > 0 {
		t.text = append(t.text[:0], t.text[n:]...)
	}
	return len(p), nil
}

// last is the last line, but of a panic the line that says what it is about.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
	}
	return lines[len(lines)-1]
}
