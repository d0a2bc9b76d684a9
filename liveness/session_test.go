package liveness

import "testing"

// What streams lost that ended by themselves, one now and then, takes nothing from the
// time of another.
func TestFarewellsOfSingleStreamsHaveTheirTime(t *testing.T) {
	x := newSession(t.Context(), &Server{Config: Config{Engine: new(Engine)}}, nil)
	for range 1000 {
		x.told(false)
	}
	if d := x.farewellTime(); d != farewellTime {
		t.Errorf("%v alone", d)
	}
	last := farewellTime
	x.tell(func(*Conn) {})
	x.telling.Add(1)
	for range 100 {
		x.told(false)
		if d := x.farewellTime(); d >= last || d <= 0 {
			t.Fatalf("%v after %v", d, last)
		} else {
			last = d
		}
	}
}
