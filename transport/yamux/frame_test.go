package yamux

import "testing"

func TestCodes(t *testing.T) {
	for _, code := range []uint64{0, 1, 13, maxCode} {
		if got, ok := codeOf(resetFrame(7, code).length()); !ok || got != code {
			t.Errorf("reset: code %d came out as %d, %v", code, got, ok)
		}
		if code == 0 {
			continue
		}
		if got, ok := codeOf(goAwayFrame(code).length()); !ok || got != code {
			t.Errorf("go away: code %d came out as %d, %v", code, got, ok)
		}
	}
	if _, ok := codeOf(resetFrame(7, maxCode+1).length()); ok {
		t.Error("a reset carries a code that has no room in it")
	}
	if h := goAwayFrame(maxCode + 1); h != nil {
		t.Errorf("a go away carries a code that has no room in it: %x", h)
	}
	if h := goAwayFrame(0); h.length() != goAwayNormal {
		t.Errorf("code 0 is not the normal end: %x", h)
	}
	for _, length := range []uint32{goAwayNormal, goAwayProtocol, goAwayInternal, window, 1<<32 - 1} {
		if code, ok := codeOf(length); ok {
			t.Errorf("length %d is taken for code %d", length, code)
		}
	}
}
