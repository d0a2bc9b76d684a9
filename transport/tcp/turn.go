package tcp

import (
	"sync"
	"sync/atomic"
)

// A turn is held by the one Read or TryRead that is on. What a Read leaves is
// news for whoever was refused meanwhile, and was told that there is nothing.
type turn struct {
	sync.Mutex
	refused atomic.Bool // a try, since the last done
}

// try takes the turn if it is free. When it has noted that it was refused it looks
// again, in case done came just before that and missed it. Both swap, and so one
// of them sees the other: a TryLock that fails says nothing of what came before.
func (t *turn) try() bool {
	if t.TryLock() {
		return true
	}
	t.refused.Swap(true)
	return t.TryLock()
}

// done is Unlock, and reports whether a try was refused.
func (t *turn) done() bool {
	t.Unlock()
	return t.refused.Swap(false)
}
