package main

import (
	"fmt"
	"sync"

	"github.com/livenet/livenet/liveness"
)

// An unprotected policy is one whose verdicts of silence the engine carries out
// at once, so that one can see what its protection from its own stalls is worth.
//
// Before it carries a verdict out, the engine asks the policy whether a sign of
// life at that very moment would change it. If not, then there is no point in
// looking for one: not in asking the kernel, nor in waiting. Asked that of a
// peer that it has just given up, this policy says that it would not.
type unprotected struct {
	liveness.Policy

	mu   sync.Mutex
	last liveness.History // on which it gave a peer up
}

func (u *unprotected) Judge(e liveness.History) liveness.Verdict {
	v := u.Policy.Judge(e)
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case v.Dead:
		u.last = e
	case e.Heard == e.Age && e.Age == u.last.Age && e.Seed == u.last.Seed:
		return liveness.Verdict{Dead: true, Reason: liveness.Silent, At: e.Age}
	}
	return v
}

func (u *unprotected) String() string { return fmt.Sprint(u.Policy) }
