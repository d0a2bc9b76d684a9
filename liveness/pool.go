package liveness

import (
	"runtime"
	"sync"
	"time"
)

// Ending a connection costs ten thousand times as much as renewing its lease, and may block in
// callbacks, so the clock's goroutine leaves it to a pool.
const (
	// maxWorkers keeps a mass expiry from starving other goroutines.
	maxWorkers = 32

	// maxBlocked is how many further workers may replace blocked ones.
	maxBlocked = 10_000

	// blockedCheck is the interval of the search for blocked workers: one that has the same
	// task in two searches is blocked. (A process short of processor time also searches late.)
	blockedCheck = 10 * time.Millisecond

	// compactAt is how many finished tasks may be held before their memory is freed.
	compactAt = 1024
)

// A pool runs tasks on a bounded number of goroutines, the workers. They start when there are
// tasks and end when there are none. Another worker may start in place of one that blocks.
type pool struct {
	mu       sync.Mutex
	tasks    []task // tasks[first:] are not started
	first    int
	workers  map[*worker]struct{} // without the blocked ones
	blocked  int                  // number of blocked workers
	checking bool                 // a call of check is scheduled
}

// A worker is the state of a pool's goroutine; the pool's lock guards it.
type worker struct{ seen, blocked bool } // set by check; reset with the next task

// A task is an expiry or a probe.
type task struct {
	lease   *Lease
	expired bool // otherwise: to be probed
	verdict Verdict
	age     time.Duration
	heard   time.Duration
	late    time.Duration
}

func (p *pool) run(t task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tasks = append(p.tasks, t)
	p.start(1)
}

// start starts up to n workers, as far as maxWorkers allows, and otherwise schedules check. The
// lock is held.
func (p *pool) start(n int) {
	for ; n > 0 && len(p.workers) < maxWorkers; n-- {
		w := new(worker)
		p.add(w)
		go p.work(w)
	}
	if n > 0 && !p.checking {
		p.checking = true
		time.AfterFunc(blockedCheck, p.check)
	}
}

func (p *pool) add(w *worker) {
	if p.workers == nil {
		p.workers = make(map[*worker]struct{})
	}
	p.workers[w] = struct{}{}
}

// check finds blocked workers, and starts others in their place while tasks wait.
func (p *pool) check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		if w.seen && p.blocked < maxBlocked {
			w.blocked = true
			p.blocked++
			delete(p.workers, w)
		}
		w.seen = true
	}
	p.checking = false
	p.start(len(p.tasks) - p.first)
}

// blockedCount returns the number of blocked workers.
func (p *pool) blockedCount() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(p.blocked)
}

func (p *pool) work(w *worker) {
	for {
		t, ok := p.next(w)
		if !ok {
			return
		}
		t.do()
		runtime.Gosched() // in a mass expiry, let the clock and new connections run
	}
}

// next returns the oldest task. It returns false if the calling worker must end: no task is
// left, or the worker was replaced.
func (p *pool) next(w *worker) (task, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.blocked {
		p.blocked--
		if len(p.workers) >= maxWorkers {
			return task{}, false
		}
		p.add(w)
	}
	w.seen, w.blocked = false, false
	if p.first == len(p.tasks) {
		p.tasks, p.first = nil, 0
		delete(p.workers, w)
		return task{}, false
	}
	t := p.tasks[p.first]
	p.tasks[p.first] = task{}
	p.first++
	if p.first > compactAt && p.first > len(p.tasks)/2 {
		p.tasks = append([]task(nil), p.tasks[p.first:]...)
		p.first = 0
	}
	return t, true
}

func (t task) do() {
	l := t.lease
	if !t.expired {
		if w := l.word.Load() & stateMask; w == quiet || w == renewed {
			if !l.subject.Probe() {
				l.shard.probeFailed(l)
			}
		}
		return
	}
	l.subject.Expire(expiry{
		Reason:   t.verdict.Reason,
		Age:      t.age,
		Silence:  t.age - t.heard,
		Deadline: l.shard.engine.base.Add(after(l.granted, t.verdict.At)),
		Late:     t.late,
	})
}
