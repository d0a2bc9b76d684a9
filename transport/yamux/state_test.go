package yamux

import "testing"

func TestStates(t *testing.T) {
	names := []string{"open", "halfClosedLocal", "halfClosedRemote", "lingering", "closed"}
	for from, want := range [][3]state{
		open:             {closeWrite: halfClosedLocal, closeBoth: lingering},
		halfClosedLocal:  {closeWrite: halfClosedLocal, closeBoth: lingering},
		halfClosedRemote: {closeWrite: closed, closeBoth: closed},
		lingering:        {closeWrite: lingering, closeBoth: lingering},
		closed:           {closeWrite: closed, closeBoth: closed},
	} {
		from := state(from)
		for e, to := range want[:2] {
			if got := from.on(event(e)); got != to {
				t.Errorf("%s on event %d becomes %s, want %s", names[from], e, names[got], names[to])
			}
		}
		to := map[state]state{open: halfClosedRemote, halfClosedRemote: halfClosedRemote}
		want, ok := to[from]
		if !ok {
			want = closed
		}
		if got := from.on(peerFIN); got != want {
			t.Errorf("%s on the peer's FIN becomes %s, want %s", names[from], names[got], names[want])
		}
		for _, e := range []event{reset, peerReset, sessionEnd} {
			if got := from.on(e); got != closed {
				t.Errorf("%s on event %d becomes %s, want closed", names[from], e, names[got])
			}
		}
	}
}
