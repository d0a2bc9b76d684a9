package liveness

import (
	"runtime"
	"sync"
	"time"
)

// Ending a connection costs ten thousand times what renewing it does, and may
// block in others' code, so it never happens on the clock's goroutine.
const (
	// mostWorkers keeps a mass failure from pushing everything else aside.
	maxWorkers = 32

	// mostBlocked is how many more there may be, in the place of those that block.
	maxBlocked = 10_000

	// blockedCheck is the interval of looking for them: a task that is found under way
	// twice blocks. (Where this process gets no processor, the looking is late as well.)
	blockedCheck = 10 * time.Millisecond

	// compactAt is how many tasks that are done may be held before a pool lets go of
	// their memory.
	compactAt = 1024
)

// A pool runs tasks on a bounded number of goroutines. They start when there
// is something to do and end when there is nothing left. One whose task blocks
// does not count: another one may start.
type pool struct {
	mu       sync.Mutex
	tasks    []task // those not begun start at first
	first    int
	workers  map[*worker]struct{} // but those that block
	blocked  int
	checking bool // check is to be called
}

// A worker is a goroutine's; the pool's lock guards it.
type worker struct{ seen, blocked bool } // at its task by check

// A task is a verdict to be carried out.
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

// start starts up to n workers, or has check find out why there can be no more. The
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

// check has others start in the place of workers that block, while tasks wait.
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

// blockedCount is how many workers block.
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
		runtime.Gosched() // whoever connects meanwhile is not to wait for a time slice of each of us
	}
}

// next takes the oldest task. With none left, or enough others for them, the
// calling worker is gone.
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
