package liveness

import (
	"runtime"
	"sync"
	"time"
)

// Ending a connection costs ten thousand times what renewing it does, and may
// wait for a socket, so it never happens on the clock's goroutine. The bounds
// keep a mass failure from pushing everything else aside.
const (
	mostExpiring = 32
	mostProbing  = 32
)

// compactAt is how many tasks that are done may be held before a pool lets go
// of their memory.
const compactAt = 1024

// A pool runs tasks on a bounded number of goroutines. They start when there
// is something to do and end when there is nothing left.
type pool struct {
	most int

	mu      sync.Mutex
	tasks   []task // those not begun start at first
	first   int
	workers int
}

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
	p.tasks = append(p.tasks, t)
	more := p.workers < p.most
	if more {
		p.workers++
	}
	p.mu.Unlock()
	if more {
		go p.work()
	}
}

func (p *pool) work() {
	for {
		t, ok := p.next()
		if !ok {
			return
		}
		t.do()
		runtime.Gosched() // whoever connects meanwhile is not to wait for a time slice of each of us
	}
}

// next takes the oldest task; with none left, the calling worker is gone.
func (p *pool) next() (task, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == len(p.tasks) {
		p.tasks, p.first = nil, 0
		p.workers--
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
				l.shard.unprobed(l)
			}
		}
		return
	}
	l.subject.Expire(Expiry{
		Reason:   t.verdict.Reason,
		Age:      t.age,
		Silence:  t.age - t.heard,
		Deadline: l.shard.engine.base.Add(after(l.granted, t.verdict.At)),
		Late:     t.late,
	})
}
