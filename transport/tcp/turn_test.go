package tcp

import "testing"

// Whoever was refused is known to the one who was in the way, at whatever moment
// that one was done.
func TestTurn(t *testing.T) {
	for i := range 10_000 {
		var rmu turn
		began, refused := make(chan struct{}), make(chan bool, 1)
		go func() {
			rmu.Lock()
			close(began)
			refused <- rmu.done()
		}()
		<-began
		took := rmu.try()
		if known := <-refused; !took && !known {
			t.Fatalf("round %d: it was refused, and nobody knows", i)
		}
		if !took {
			// It may not have parked yet: the next one says so, too.
			rmu.Lock()
			if !rmu.done() || !rmu.try() {
				t.Fatalf("round %d: it was refused, and is forgotten before it had its turn", i)
			}
		}
		rmu.Unlock()
		rmu.Lock()
		if rmu.done() {
			t.Fatalf("round %d: it has had its turn since it was refused", i)
		}
	}
}
