package tcp

import "testing"

// Whenever a tryLock fails, the unlock that follows reports it, however they interleave.
func TestReadLockReportsAFailedTryLock(t *testing.T) {
	for i := range 10_000 {
		var rmu readLock
		began, refused := make(chan struct{}), make(chan bool, 1)
		go func() {
			rmu.Lock()
			close(began)
			refused <- rmu.unlock()
		}()
		<-began
		locked := rmu.tryLock()
		if reported := <-refused; !locked && !reported {
			t.Fatalf("round %d: tryLock failed, and unlock did not report it", i)
		}
		if !locked {
			// The caller may not have called WakeOnRead yet, so the next unlock reports it, too.
			rmu.Lock()
			if !rmu.unlock() || !rmu.tryLock() {
				t.Fatalf("round %d: tryLock failed, and the second unlock did not report it", i)
			}
		}
		rmu.Unlock()
		rmu.Lock()
		if rmu.unlock() {
			t.Fatalf("round %d: unlock reports a failure before the last successful tryLock", i)
		}
	}
}
