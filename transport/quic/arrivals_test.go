package quic

import (
	"net/netip"
	"testing"
	"time"
)

// short is a datagram to an end that is addressed by an ID of n's.
func short(n byte) []byte { return append([]byte{0x40, n, n, n, n}, make([]byte, 20)...) }

// long is one with a long header, which a handshake has: to an ID of that length.
func long(n byte, length int) []byte {
	b := []byte{0xe0, 0, 0, 0, 1, byte(length)}
	for range length {
		b = append(b, n)
	}
	return append(b, make([]byte, 20)...)
}

var (
	here      = netip.MustParseAddrPort("192.0.2.1:1")
	there     = netip.MustParseAddrPort("192.0.2.2:2")
	elsewhere = netip.MustParseAddrPort("[fe80::1%eth0]:3")
)

// Whose a datagram may be: X's, which began here, Y's, which began there, or anyone's.
func TestWhoseADatagramIs(t *testing.T) {
	const x, y, anyone = 1, 2, 4
	type datagram struct {
		from  netip.AddrPort
		bytes []byte
		whose int
	}
	for name, sequence := range map[string][]datagram{
		"each at its own address":   {{here, short('x'), x}, {there, short('y'), y}},
		"by a handshake":            {{here, long('x', idLen), x}, {elsewhere, short('x'), x}},
		"moved without knowing":     {{here, short('x'), x}, {elsewhere, short('x'), x}, {here, short('x'), x}},
		"to the other's address":    {{here, short('x'), x}, {there, short('x'), x | y}, {there, short('y'), y}},
		"moved on purpose":          {{here, short('x'), x}, {elsewhere, short('n'), anyone}, {elsewhere, short('n'), anyone}},
		"with a new ID":             {{here, short('x'), x}, {here, short('n'), x}, {elsewhere, short('n'), x}, {elsewhere, short('x'), x}},
		"a stranger's":              {{elsewhere, short('s'), anyone}},
		"a stranger's in handshake": {{elsewhere, long('s', idLen), anyone}},
		"that of someone who comes": {{elsewhere, long('s', 8), 0}},
		"his, from a known address": {{here, long('s', 8), x}},
		"no packet":                 {{elsewhere, []byte{0x40, 1, 2}, 0}, {here, nil, x}},
	} {
		t.Run(name, func(t *testing.T) {
			var a arrivals
			px, py := a.enter(here), a.enter(there)
			for i, d := range sequence {
				before := [3]time.Duration{px.last, py.last, a.anyone}
				a.came(d.from, d.bytes, time.Duration(i+1))
				a.came(d.from, d.bytes, 1) // what is older changes nothing
				for bit, last := range [3]time.Duration{px.last, py.last, a.anyone} {
					want := before[bit]
					if d.whose&(1<<bit) != 0 {
						want = time.Duration(i + 1)
					}
					if last != want {
						t.Errorf("datagram %d: of %s the last came at %d, want %d", i, [3]string{"X", "Y", "anyone"}[bit], last, want)
					}
				}
			}
		})
	}
}

// While only a part is read of what has lain unread, nobody knows what else there
// is of those of whom there is something in it. Of the others it is known.
func TestWhatIsUnsure(t *testing.T) {
	var a arrivals
	x, y := a.enter(here), a.enter(there)
	known := func(p *peer) bool { return !a.last(p, p.addr).IsZero() }
	if known(x) {
		t.Error("nothing has come, and that at a known time")
	}
	a.came(here, short('x'), 10)
	a.came(there, short('y'), 20)
	a.settle(false)
	if a.settle(true); !known(x) || !known(y) || !a.last(x, here).Equal(start.Add(10)) {
		t.Error("what had come before is not known any more")
	}
	a.came(there, short('y'), 30)
	if !known(x) || known(y) {
		t.Errorf("of X, of whom nothing was read: %v, want true; of Y: %v, want false", known(x), known(y))
	}
	if a.settle(true); !known(x) || known(y) {
		t.Error("still the same, and it changes")
	}
	if a.settle(false); !known(y) || !a.last(y, there).Equal(start.Add(30)) {
		t.Error("all was read, and it is not known")
	}
	a.settle(true)
	a.came(elsewhere, short('s'), 40)
	if known(x) || known(y) {
		t.Error("a stranger, who may be X or Y, was read in part, and they are known")
	}
	if a.settle(false); !a.last(x, here).Equal(start.Add(40)) {
		t.Error("what may be X's does not count")
	}
	if !a.last(x, elsewhere).IsZero() {
		t.Error("X has moved, and is known")
	}
}

// Nothing is kept of an address whose connections have ended, and little of one
// that uses up its IDs.
func TestArrivalsForget(t *testing.T) {
	var a arrivals
	first, second := a.enter(here), a.enter(here)
	if first != second {
		t.Fatal("one address, two peers")
	}
	for id := range byte(200) {
		a.came(here, short(id), 1)
	}
	if len(a.ids) != mostIDs {
		t.Errorf("%d IDs are known, want %d", len(a.ids), mostIDs)
	}
	if a.came(elsewhere, short(199), 2); first.last != 2 {
		t.Error("the latest ID is not known")
	}
	if a.leave(first); len(a.peers) != 1 {
		t.Error("forgotten while it has a connection")
	}
	if a.leave(second); len(a.peers) != 0 || len(a.ids) != 0 {
		t.Errorf("%d addresses and %d IDs are known still", len(a.peers), len(a.ids))
	}
}
