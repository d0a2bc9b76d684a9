package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/livenet/livenet/liveness"
)

// A Renew measures what a sign of life costs, with a lease and with what one
// would use instead: for one connection, in random order for many, and what it
// makes of a core under a steady load.
type Renew struct {
	Leases int           // where there are many: from 1 to MostLeases
	For    time.Duration // how long each row is measured; a load takes longer
}

// Run measures until it is done or ctx ends.
func (r Renew) Run(ctx context.Context, p Progress) (*Report, error) {
	rows, loads := renewTable(), r.loadTable()
	report := &Report{
		Bench: "renew",
		Settings: []Field{
			{Head: "leases", Key: "leases", Kind: Count, Value: r.Leases},
			{Head: "each row for", Key: "for_s", Kind: Seconds, Value: r.For},
		},
		Tables: []*Table{rows, loads},
	}
	c := &course{to: p, total: r.For * (ones + manies + loadRows*(settling+window))}
	if err := r.one(ctx, c, rows); err != nil {
		return report, err
	}
	r.many(ctx, c, rows)
	r.loads(ctx, c, loads)
	return report, nil
}

func renewTable() *Table {
	t := &Table{
		Key:   "rows",
		Title: "A sign of life",
		Columns: []Column{
			{Key: "what", Kind: Text},
			{Head: "entries", Key: "entries", Kind: Count},
			{Head: "ns/op", Key: "ns_per_op", Kind: Number},
			{Head: "worst", Key: "worst_ns_per_op", Kind: Number},
			{Head: "allocs", Key: "allocs_per_op", Kind: Count},
			{Head: "B/entry", Key: "bytes_per_entry", Kind: Number},
			{Head: "ratio", Key: "ratio", Kind: Ratio},
		},
	}
	t.Note("ns/op is the median of %d rounds, taken in turns, and worst the slowest of them; "+
		"from all cores it is the time divided by all their renewals. Ratio is against a "+
		"lease of the same sort. An entry is all that is held for one connection, but for "+
		"the pointer to it: a lease's 64 bytes, and 24 that Grant adds for its policy and its "+
		"callback.", rounds)
	return t
}

// addRenewal adds a row. lease is what it is compared with; nil: nothing.
func addRenewal(t *Table, l, lease *contender, entries int, bytes any) {
	nanos, worst, allocs, ok := l.result()
	if !ok {
		return
	}
	var ratio any
	if lease != nil {
		if of, _, _, ok := lease.result(); ok {
			ratio = nanos / of
		}
	}
	t.Add(l.what, entries, nanos, worst, allocs, bytes, ratio)
}

// far is a timeout that nothing here lives to see.
const far = time.Hour

// ones is how many rows one makes.
const ones = 5

// one measures one of each.
func (r Renew) one(ctx context.Context, c *course, t *Table) error {
	lease := new(liveness.Engine).Grant(liveness.Sliding(far), func(liveness.Expiry) {})
	defer lease.Release()
	timer := time.AfterFunc(far, func() {})
	defer timer.Stop()
	rearmed := time.AfterFunc(far, func() {})
	defer func() { rearmed.Stop() }()
	conn, end, err := loopback(ctx)
	if err != nil {
		return err
	}
	defer end()

	renew := func(n int) {
		for range n {
			lease.Renew()
		}
	}
	list := [ones]*contender{
		{what: Label{"lease", "Lease.Renew"}, do: renew},
		{what: Label{"lease-all-cores", "Lease.Renew, from all cores"}, do: onAllCores(renew)},
		{what: Label{"timer-reset", "Timer.Reset"}, do: func(n int) {
			for range n {
				timer.Reset(far)
			}
		}},
		{what: Label{"after-func", "Timer.Stop, time.AfterFunc"}, do: func(n int) {
			for range n {
				rearmed.Stop()
				rearmed = time.AfterFunc(far, func() {})
			}
		}},
		{what: Label{"set-read-deadline", "SetReadDeadline(now + d)"}, do: func(n int) {
			for range n {
				conn.SetReadDeadline(time.Now().Add(far))
			}
		}},
	}
	contest(ctx, list[:], r.For, c)
	for i, l := range list {
		var against *contender
		if i > 1 { // the leases come first
			against = list[0]
		}
		addRenewal(t, l, against, 1, nil)
	}
	return nil
}

// onAllCores shares n operations between as many goroutines as there are cores.
func onAllCores(do func(n int)) func(n int) {
	return func(n int) {
		cores := runtime.GOMAXPROCS(0)
		var wg sync.WaitGroup
		for i := range cores {
			wg.Go(func() { do((n + i) / cores) })
		}
		wg.Wait()
	}
}

// loopback is one end of a TCP connection to nobody in particular.
func loopback(ctx context.Context) (conn net.Conn, end func(), err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	var d net.Dialer
	if conn, err = d.DialContext(ctx, "tcp", l.Addr().String()); err != nil {
		l.Close()
		return nil, nil, err
	}
	return conn, func() { conn.Close(); l.Close() }, nil
}

// manies is how many rows many makes.
const manies = 2

// many measures as many as there are leases, in random order: what the caches
// and the timers' heaps make of it.
func (r Renew) many(ctx context.Context, c *course, t *Table) {
	n := r.Leases
	c.begin(fmt.Sprintf("granting %s leases, starting %[1]s timers", thousands(int64(n))))
	order := shuffled(n)

	leases, timers := make([]*liveness.Lease, n), make([]*time.Timer, n)
	defer func() {
		for i := range leases {
			if leases[i] != nil {
				leases[i].Release()
			}
			if timers[i] != nil {
				timers[i].Stop()
			}
		}
	}()
	engine, policy := new(liveness.Engine), liveness.Sliding(far)
	first := engine.Grant(policy, func(liveness.Expiry) {}) // makes what the engine itself takes
	defer first.Release()
	perLease := perEntry(ctx, n, func(i int) { leases[i] = engine.Grant(policy, func(liveness.Expiry) {}) })
	perTimer := perEntry(ctx, n, func(i int) { timers[i] = time.AfterFunc(far, func() {}) })
	if ctx.Err() != nil {
		return
	}

	lease := &contender{what: Label{"lease-random", "Lease.Renew, random order"}}
	timer := &contender{what: Label{"timer-reset-random", "Timer.Reset, random order"}}
	l, m := cycle{order: order}, cycle{order: order}
	lease.do = func(n int) {
		for range n {
			leases[l.next()].Renew()
		}
	}
	timer.do = func(n int) {
		for range n {
			timers[m.next()].Reset(far)
		}
	}
	contest(ctx, []*contender{lease, timer}, r.For, c)
	addRenewal(t, lease, nil, n, perLease)
	addRenewal(t, timer, lease, n, perTimer)
}

// A cycle goes through numbers in an order, again and again.
type cycle struct {
	order []uint32
	at    int
}

func (c *cycle) next() uint32 {
	if c.at == len(c.order) {
		c.at = 0
	}
	i := c.order[c.at]
	c.at++
	return i
}

// shuffled is the numbers below n, each once, in random order. To draw them in
// the measured loop would cost more than a renewal.
func shuffled(n int) []uint32 {
	order := make([]uint32, n)
	for i := range order {
		j := rand.IntN(i + 1)
		order[i] = order[j]
		order[j] = uint32(i)
	}
	return order
}

// perEntry makes n entries and returns how much memory each takes.
func perEntry(ctx context.Context, n int, make func(i int)) float64 {
	before := HeapBytes()
	for i := 0; i < n && ctx.Err() == nil; i++ {
		make(i)
	}
	return max(0, float64(HeapBytes())-float64(before)) / float64(n)
}
