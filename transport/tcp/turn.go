package tcp

import (
	"sync"
	"sync/atomic"
)

// A turn is held by the one Read or TryRead that is on. What a Read leaves is
// news for whoever was refused meanwhile, and was told that there is nothing.
type turn struct {
	sync.Mutex
	refused atomic.Bool // a try, and none has got in since
}

// try takes the turn if it is free. When it has noted that it was refused it looks
// again, in case done came just before that and missed it: one of the two sees
// what the other has done.
func (t *turn) try() bool {
	if !t.TryLock() {
		t.refused.Swap(true)
		if !t.TryLock() {
			return false
		}
	}
	t.refused.Store(false)
	return true
}

// done is Unlock, and reports whether a try was refused. It does so until one gets
// in: whoever was refused may not have parked yet.
func (t *turn) done() bool {
	t.Unlock()
	return t.refused.Load()
}
