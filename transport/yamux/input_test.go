package yamux

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Input is read unchanged whatever the sizes of writes and reads, and takes little more
// memory than its bytes.
func TestInputKeepsBytesAndMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var in input
	var want, got []byte
	held := 0
	for range 2000 {
		p := make([]byte, 1+rng.IntN(1+rng.IntN(blockSize)))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		want = append(want, p...)
		held += in.add(p)
		q := make([]byte, rng.IntN(2*blockSize))
		n, freed := in.read(q)
		got, held = append(got, q[:n]...), held-freed
		if held != in.held || in.unread != len(want)-len(got) {
			t.Fatalf("%d held, %d by its account; %d unread, %d by its account", held, in.held, len(want)-len(got), in.unread)
		}
		if in.held > 4*in.unread+2*blockSize {
			t.Fatalf("%d bytes take %d", in.unread, in.held)
		}
	}
	rest := make([]byte, in.unread)
	n, freed := in.read(rest)
	if got = append(got, rest[:n]...); !bytes.Equal(got, want) {
		t.Error("what was read is not what came in")
	}
	if held-freed != 0 || in.held != 0 || len(in.segments) != 0 {
		t.Errorf("when it is empty %d bytes are held", in.held)
	}
}

// If a stream is always read empty, large frames allocate nothing.
func TestInputAllocatesNothing(t *testing.T) {
	var in input
	p := make([]byte, blockSize)
	if n := testing.AllocsPerRun(1000, func() {
		in.add(p)
		in.read(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
