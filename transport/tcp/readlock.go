package tcp

import (
	"sync"
	"sync/atomic"
)

// A readLock is held during Read and TryRead. A TryRead that finds it locked returns
// ErrWouldBlock although the Read may leave data. So the lock remembers that, and the end
// of the Read has to wake the caller of TryRead.
type readLock struct {
	sync.Mutex
	refused atomic.Bool // a tryLock has failed, and none has succeeded since
}

// tryLock locks if the lock is free. After setting refused it tries again: unlock may have
// loaded refused just before. So either unlock sees refused, or tryLock succeeds.
func (l *readLock) tryLock() bool {
	if !l.TryLock() {
		l.refused.Swap(true)
		if !l.TryLock() {
			return false
		}
	}
	l.refused.Store(false)
	return true
}

// unlock unlocks and reports whether a tryLock has failed. It keeps reporting that until
// one succeeds, since the caller that failed may not have called WakeOnRead yet.
func (l *readLock) unlock() bool {
	l.Unlock()
	return l.refused.Load()
}
