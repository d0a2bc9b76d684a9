package quic

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// short is a datagram to an end that is addressed by an ID of n's.
func short(n byte) []byte {
	return slices.Concat([]byte{0x40}, bytes.Repeat([]byte{n}, idLen), make([]byte, 20))
}

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

// A million connections have some four IDs each, and any two that are the same
// silence a peer that lives.
func TestConnectionIDsAreTooLongToMeet(t *testing.T) {
	const inUse = 4 * 1_000_000
	if meet := inUse * inUse / 2 / math.Pow(256, idLen); meet > 1e-3 {
		t.Errorf("%.2g pairs are to be expected", meet)
	}
	if ep := newEndpoint(nil, nil); ep.transport.ConnectionIDLength != idLen {
		t.Errorf("IDs have %d bytes", ep.transport.ConnectionIDLength)
	}
}

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

// When the last one came is known if all has been read, or was but now; and if the
// peer is where it began.
func TestWhenIsItKnown(t *testing.T) {
	a := arrivals{unread: func() bool { return false }}
	x := a.enter(here)
	known := func() bool { return !a.last(x, here).IsZero() }
	if known() {
		t.Error("nothing has come, and that at a known time")
	}
	a.came(here, short('x'), 10)
	if !a.last(x, here).Equal(start.Add(10)) {
		t.Errorf("all was read: %v", a.last(x, here))
	}
	a.unread = func() bool { return true }
	if known() {
		t.Error("there is more to read, and it is known")
	}
	if a.all = time.Since(start) + time.Minute; !known() {
		t.Error("all was read but now, and it isn't known")
	}
	if a.all = time.Since(start) - 2*lateness; known() {
		t.Error("all was read a while ago, and it is known")
	}
	a.unread = func() bool { return false }
	if !a.last(x, there).IsZero() {
		t.Error("the peer has moved, and it is known")
	}
	if a.came(elsewhere, short('s'), 20); !a.last(x, here).Equal(start.Add(20)) {
		t.Error("what may be of anyone does not count")
	}
	if !a.last(nil, there).IsZero() {
		t.Error("known of a connection that was dialled")
	}
	if a.unread = nil; known() {
		t.Error("nobody takes note, and it is known")
	}
}

func (a *arrivals) from(addr netip.AddrPort) *peer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.peers[addr]
}

// Nothing is kept of an address whose connections have ended, and little of one
// that uses up its IDs.
func TestArrivalsForget(t *testing.T) {
	synctest.Test(t, testArrivalsForget)
}

func testArrivalsForget(t *testing.T) {
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
	a.leave(first)
	time.Sleep(2 * underWay)
	if a.from(here) != first {
		t.Error("forgotten while it has a connection")
	}
	a.leave(second)
	time.Sleep(underWay / 2)
	if a.from(here) != first {
		t.Error("forgotten while it may have something under way")
	}
	third := a.enter(here)
	time.Sleep(underWay)
	if a.from(here) != third {
		t.Error("forgotten while it has a connection again")
	}
	a.leave(third)
	time.Sleep(2 * underWay)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.peers) != 0 || len(a.ids) != 0 {
		t.Errorf("%d addresses and %d IDs are known still", len(a.peers), len(a.ids))
	}
}
