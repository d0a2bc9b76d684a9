package liveness

import (
	"testing"
	"time"
	"unsafe"
)

// A lease is one cache line, also as a field of a connection. With a million of them each
// byte counts.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(Lease{}); n != 64 {
		t.Errorf("a lease takes %d bytes", n)
	}
	if n := unsafe.Sizeof(Conn{}); n > 288 {
		t.Errorf("a connection takes %d bytes", n)
	}
}

// Renew does not allocate, whether or not the engine's clock sleeps.
func TestRenewAllocatesNothing(t *testing.T) {
	for name, e := range map[string]*Engine{"ticking": new(Engine), "fine": fineEngine()} {
		l := e.unfiled(Sliding(time.Hour))
		if n := testing.AllocsPerRun(1000, func() { l.Renew() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A grant of a lease that is a field of a connection does not allocate.
func TestGrantAllocatesNothing(t *testing.T) {
	e := new(Engine)
	s := &watched{policy: Sliding(time.Minute)}
	first := e.watch(s) // starts the clock
	defer first.Release()
	var l Lease
	if n := testing.AllocsPerRun(1000, func() {
		l.word.Store(quiet)
		e.grant(&l, s)
		l.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
