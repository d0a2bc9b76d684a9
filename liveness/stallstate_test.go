package liveness

import (
	"testing"
	"time"
)

// A table of how long a stall is taken to be, and until when a judgement is deferred.
func TestRule10Stall(t *testing.T) {
	const timeout = 4 * time.Second
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	once := func(length float64) (s stall) { // resumed at 100 s
		s.record(at(100), at(length), at(length))
		return s
	}
	twice := once(2)
	twice.record(at(101), at(0.5), at(0.5)) // with a second of grace left
	for name, test := range map[string]struct {
		stall stall
		x     suspect
		want  time.Duration // on the engine's clock; 0: judged now
	}{
		"no stall":                    {stall{}, suspect{age: at(100), doubt: true}, 0},
		"certain":                     {once(1), suspect{age: at(100)}, 0},
		"as long as the stall was":    {once(1), suspect{age: at(100), doubt: true}, at(101)},
		"half a timeout at most":      {once(60), suspect{age: at(100), doubt: true}, at(102)},
		"the grace is over":           {once(1), suspect{age: at(101), doubt: true}, 0},
		"by the grant's clock":        {once(1), suspect{age: at(70), granted: at(30), doubt: true}, at(101)},
		"one stall adds to another":   {twice, suspect{age: at(101), doubt: true}, at(102.5)},
		"put off too often":           {once(1), suspect{age: at(100), doubt: true, deferred: maxDeferred}, 0},
		"waited for before, and long": {once(1), suspect{age: at(100), doubt: true, deferred: 1, silence: 2 * timeout}, at(100) + 1},
		"but not while away so long":  {once(5), suspect{age: at(100), doubt: true, deferred: 1, silence: 2 * timeout}, at(102)},
	} {
		test.x.timeout = timeout
		want := test.want
		if want > 0 {
			want -= test.x.granted
			if test.x.age == at(100) && want == at(100)+1 {
				test.x.age-- // the next tick
			}
		}
		if got := test.stall.grace(test.x); got != want {
			t.Errorf("%s: until %v, want %v", name, got, want)
		}
	}
	s := twice
	for when, want := range map[float64]bool{99.9: false, 100: true, 101: true, 102.5: true, 102.6: false} {
		if got := s.covers(at(when)); got != want {
			t.Errorf("covers %v s: %v", when, got)
		}
	}
}
