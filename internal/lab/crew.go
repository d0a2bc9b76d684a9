package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A crew is the workers of an experiment, as the coordinator sees them. They are killed when
// ctx ends.
type crew struct {
	ctx      context.Context
	stderr   io.Writer
	isolated bool // each worker has a network namespace of its own, which goes with it
	workers  []*worker
}

// A worker is one process. One goroutine at a time gives it orders.
type worker struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.Closer
	pipe    *os.File
	orders  *json.Encoder
	answers *json.Decoder
	addr    string

	last answer // to the latest order
}

// A pair is a server and the client of it that holds its sessions.
type pair struct {
	server, client *worker
	sessions       int
}

func newCrew(ctx context.Context, stderr io.Writer) *crew { return &crew{ctx: ctx, stderr: stderr} }

// answerTime is how long a worker may take over one order.
const answerTime = 2 * time.Minute

// start starts a worker with its first order.
func (c *crew) start(name string, o order) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(c.ctx, self)
	cmd.Env = append(os.Environ(), workerEnv+"=1",
		"QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true", "GNET_LOGGING_LEVEL=2")
	cmd.Stdout, cmd.Stderr = c.stderr, c.stderr
	cmd.WaitDelay = time.Second
	// A worker that is stopped does not read that its stdin has ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.isolated {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		answers.Close()
		return nil, fmt.Errorf("can't start %s: %w", name, err)
	}
	w := &worker{name: name, cmd: cmd, stdin: stdin, pipe: answers, orders: json.NewEncoder(stdin), answers: json.NewDecoder(answers)}
	c.workers = append(c.workers, w)
	a, err := w.ask(o)
	w.addr = a.Addr
	return w, err
}

// ask sends the worker an order and waits for the answer.
func (w *worker) ask(o order) (answer, error) {
	timer := time.AfterFunc(answerTime, func() { w.cmd.Process.Kill() })
	defer timer.Stop()
	var a answer
	err := w.orders.Encode(o)
	if err == nil {
		err = w.answers.Decode(&a)
	}
	switch {
	case err != nil:
		return a, fmt.Errorf("%s has ended: %w", w.name, err)
	case a.Err != "":
		err = fmt.Errorf("%s: %s", w.name, a.Err)
	}
	w.last = a
	return a, err
}

func (w *worker) signal(s os.Signal) error { return w.cmd.Process.Signal(s) }

// end kills all workers and waits for their end. They don't close their connections first.
func (c *crew) end() {
	for _, w := range c.workers {
		w.stdin.Close()
		w.cmd.Process.Kill()
	}
	for _, w := range c.workers {
		w.cmd.Wait()
		w.pipe.Close()
	}
	c.workers = nil
}

// each calls f for all workers at once.
func each(list []*worker, f func(*worker) error) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, w := range list {
		wg.Go(func() { errs[i] = f(w) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func askAll(list []*worker, o order) error {
	return each(list, func(w *worker) error { _, err := w.ask(o); return err })
}

// openStep is how many connections a client may open before its server has accepted them: the
// kernel's queue has room for more (net.core.somaxconn).
const openStep = 512

// open opens n more sessions of the pair. It calls told after each step.
func (p pair) open(n int, told func(int)) error {
	if _, err := p.client.ask(order{}); err != nil {
		return err
	}
	for n > 0 {
		k := min(n, openStep)
		a, err := p.client.ask(order{Open: k})
		if err != nil {
			return err
		}
		if a.Client.Failed.sum() > 0 {
			return fmt.Errorf("%s: %d sessions could not be opened: %s", p.client.name, a.Client.Failed.sum(), a.Client.Failed.most())
		}
		if _, err := p.server.ask(order{Await: a.Client.alive()}); err != nil {
			return err
		}
		n -= k
		told(k)
	}
	return nil
}

// openAll opens sessions in as many pairs at once as there are cores.
func openAll(pairs []pair, n func(pair) int, told func(opened int)) error {
	var mu sync.Mutex
	opened := 0
	gate := make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))
	errs := make([]error, len(pairs))
	var wg sync.WaitGroup
	for i, p := range pairs {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			errs[i] = p.open(n(p), func(k int) {
				mu.Lock()
				defer mu.Unlock()
				opened += k
				told(opened)
			})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// settle waits until servers and clients agree on how many sessions there are,
// for ten seconds at most.
func settle(ctx context.Context, pairs []pair) error {
	for until := time.Now().Add(10 * time.Second); ; {
		agree := true
		for _, p := range pairs {
			if err := askAll([]*worker{p.server, p.client}, order{}); err != nil {
				return err
			}
			agree = agree && p.server.last.Server.Live == p.client.last.Client.alive()
		}
		if agree || time.Now().After(until) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spareDescriptors are for other files of a worker.
const spareDescriptors = 64

// descriptors is how many a process may have, after the soft limit has been
// raised to the hard one, for this process and those that it starts.
func descriptors() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 1024
	}
	if r.Cur = r.Max; unix.Setrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	}
	return int(min(r.Cur, 1<<30))
}

// fits returns an error if a process can't hold so many sessions.
func fits(sessions int) error {
	if have, need := descriptors(), sessions+spareDescriptors; need > have {
		return fmt.Errorf("%d sessions need %d descriptors in one process, and RLIMIT_NOFILE is %d: ulimit -n", sessions, need, have)
	}
	return nil
}

// mostSessions bounds what an experiment asks of a machine, by transport.
var mostSessions = map[string]int{"tcp": 1_000_000, "tls": 100_000, "yamux": 100_000, "quic": 20_000}

var errInterrupted = errors.New("interrupted")
