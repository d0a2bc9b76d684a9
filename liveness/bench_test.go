package liveness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkRenew compares what a sign of life costs: with a lease, and with
// what one would use instead. One connection or timer each; see
// BenchmarkRenewScattered for a million.
func BenchmarkRenew(b *testing.B) {
	b.Run("Lease", func(b *testing.B) {
		e := new(Engine)
		l := e.Grant(Sliding(time.Hour), func(Expiry) {})
		defer l.Release()
		b.ReportAllocs()
		for b.Loop() {
			l.Renew()
		}
	})
	b.Run("Calm", func(b *testing.B) {
		l := calm().unfiled(Sliding(time.Hour)) // no clock finds out that this is a crowd
		b.ReportAllocs()
		for b.Loop() {
			l.Renew()
		}
	})
	b.Run("CalmOpens", func(b *testing.B) {
		e := calm()
		l := e.unfiled(Sliding(time.Hour))
		b.ReportAllocs()
		for b.Loop() {
			e.promised = 0 // the epoch is over
			e.ends[e.epoch.Load()%ringSize].Store(0)
			l.Renew()
		}
	})
	b.Run("TimerReset", func(b *testing.B) {
		t := time.AfterFunc(time.Hour, func() {})
		defer t.Stop()
		b.ReportAllocs()
		for b.Loop() {
			t.Reset(time.Hour)
		}
	})
	b.Run("SetReadDeadline", func(b *testing.B) {
		conn := loopback(b)
		b.ReportAllocs()
		for b.Loop() {
			conn.SetReadDeadline(time.Now().Add(time.Hour))
		}
	})
}

// BenchmarkRenewScattered renews a million, in random order.
func BenchmarkRenewScattered(b *testing.B) {
	const n = 1 << 20
	order := make([]uint32, 1<<22)
	for i := range order {
		order[i] = rand.Uint32N(n)
	}
	b.Run("Lease", func(b *testing.B) {
		e := new(Engine)
		leases := make([]*Lease, n)
		for i := range leases {
			leases[i] = e.Grant(Sliding(time.Hour), func(Expiry) {})
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			leases[order[i%len(order)]].Renew()
			i++
		}
		b.StopTimer()
		for _, l := range leases {
			l.Release()
		}
	})
	b.Run("TimerReset", func(b *testing.B) {
		timers := make([]*time.Timer, n)
		for i := range timers {
			timers[i] = time.AfterFunc(time.Hour, func() {})
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			timers[order[i%len(order)]].Reset(time.Hour)
			i++
		}
		b.StopTimer()
		for _, t := range timers {
			t.Stop()
		}
	})
}

// BenchmarkRenewParallel renews one lease from every processor.
func BenchmarkRenewParallel(b *testing.B) {
	e := new(Engine)
	l := e.Grant(Sliding(time.Hour), func(Expiry) {})
	defer l.Release()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Renew()
		}
	})
}

// populate has an engine hold leases, in all of its shards.
func populate(b *testing.B, e *Engine, s Subject) {
	leases := make([]*Lease, 1000)
	leases[0] = e.Watch(s) // starts the clock
	for i := range leases[1:] {
		l := &Lease{subject: s, shard: &e.shards[i%len(e.shards)]}
		l.shard.granted.Add(1)
		l.shard.grant(l)
		leases[1+i] = l
	}
	b.Cleanup(func() {
		for _, l := range leases {
			l.Release()
		}
	})
}

// BenchmarkGrantRelease compares, with -cpu 1,2, one processor with both.
func BenchmarkGrantRelease(b *testing.B) {
	e := new(Engine)
	s := &watched{policy: Sliding(time.Minute)}
	populate(b, e, s)
	b.Run("Watch", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				e.Watch(s).Release()
			}
		})
	})
	// As in a connection, which the lease is a part of: there is nothing to collect.
	b.Run("InPlace", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			var l struct {
				_ [64]byte
				Lease
				_ [64]byte
			}
			for pb.Next() {
				l.word.Store(quiet)
				e.grant(&l.Lease, s)
				l.Release()
			}
		})
	})
}

// BenchmarkLeaseMemory reports the engine's memory per lease, all included but
// the subject, which is the caller's.
func BenchmarkLeaseMemory(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		e := new(Engine)
		s := &watched{policy: Sliding(time.Hour)}
		leases := make([]*Lease, n)
		before := heap()
		for i := range leases {
			leases[i] = e.Watch(s)
		}
		b.ReportMetric(float64(heap()-before)/n, "B/lease")
		for _, l := range leases {
			l.Release()
		}
	}
}

// BenchmarkConnMemory reports what a Conn takes, lease and statistics included,
// beside the connection that it is put on.
func BenchmarkConnMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		cfg := &Config{Policy: Sliding(time.Hour), Engine: new(Engine)}
		policy := cfg.policy(cfg.Policy)
		conns := make([]*Conn, n)
		before := heap()
		for i := range conns {
			conns[i] = newConn(silentConn{}, cfg, policy)
		}
		b.ReportMetric(float64(heap()-before)/n, "B/conn")
		for _, c := range conns {
			c.Close()
		}
	}
}

// silentConn is a connection on which nothing happens.
type silentConn struct{ net.Conn }

func (silentConn) LocalAddr() net.Addr  { return nil }
func (silentConn) RemoteAddr() net.Addr { return nil }
func (silentConn) Close() error         { return nil }

// heapInUse is what the heap takes, garbage included; to ask stops nobody.
func heapInUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkExpiry grants 100,000 leases that fall due over a second or two,
// beating meanwhile, and reports how late, or early, each verdict fell. In
// "stalled" the clock's goroutine is held up for 100 ms now and again.
func BenchmarkExpiry(b *testing.B) {
	for _, tick := range []time.Duration{10 * time.Millisecond, time.Millisecond} {
		for _, stalled := range []bool{false, true} {
			name := fmt.Sprintf("tick=%v", tick)
			if stalled {
				name += "/stalled"
			}
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					benchExpiry(b, &Engine{Tick: tick}, stalled)
				}
			})
		}
	}
}

func benchExpiry(b *testing.B, e *Engine, stalled bool) {
	const n = 100_000
	type peer struct {
		lease *Lease
		heard atomic.Int64 // a time before the newest renewal
		d     time.Duration
	}
	peers := make([]peer, n)
	var early, ended atomic.Int64
	late := make([]atomic.Int64, n)
	base := time.Now()
	done := make(chan struct{})
	for i := range peers {
		p := &peers[i]
		p.d = time.Second + time.Duration(rand.IntN(int(time.Second)))
		p.heard.Store(int64(time.Since(base)))
		p.lease = e.Grant(Sliding(p.d), func(x Expiry) {
			// By this clock, and against the true deadline, not the one that the engine
			// believes in. Early it is also if the engine says that its verdict was.
			d := time.Since(base) - time.Duration(p.heard.Load()) - p.d
			if said := x.Deadline.Add(x.Late).Sub(base) - time.Duration(p.heard.Load()) - p.d; min(d, said) < 0 {
				early.Add(1)
			}
			late[i].Store(int64(d))
			if ended.Add(1) == n {
				close(done)
			}
		})
	}
	if stalled {
		for at := range 8 {
			e.Watch(&watched{policy: &sleepyPolicy{at: time.Duration(at+1) * 300 * time.Millisecond}})
		}
	}
	// 100,000 renewals a second, for a second.
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		for range 100 {
			p := &peers[rand.IntN(n)]
			now := int64(time.Since(base))
			if p.lease.Renew() {
				p.heard.Store(now)
			}
		}
	}
	<-done
	sorted := make([]float64, n)
	for i := range late {
		sorted[i] = float64(late[i].Load()) / 1e6
	}
	report(b, sorted)
	b.ReportMetric(float64(early.Load()), "early")
}

// sleepyPolicy holds up the clock's goroutine for 100 ms at an age, once.
type sleepyPolicy struct {
	at    time.Duration
	slept bool
}

func (s *sleepyPolicy) Judge(e Evidence) Verdict {
	if e.Age < s.at {
		return JudgeAgain(s.at)
	}
	if !s.slept {
		s.slept = true
		time.Sleep(100 * time.Millisecond)
	}
	return Expired(FixedDeadline, s.at)
}

// loopback is one end of a TCP connection to nobody in particular.
func loopback(b *testing.B) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return conn
}

// report gives the 50th and 99th percentile and the maximum, in milliseconds.
func report(b *testing.B, ms []float64) {
	slices.Sort(ms)
	b.ReportMetric(ms[len(ms)/2], "ms-p50")
	b.ReportMetric(ms[len(ms)*99/100], "ms-p99")
	b.ReportMetric(ms[len(ms)-1], "ms-max")
}

// BenchmarkMassExpiry has a million leases due at one instant, and 10,000
// neighbours that beat meanwhile. It reports how long it took to decide on all,
// and until the last one's end was handed over, by how many bytes a lease the heap
// grew meanwhile, and how many neighbours were lost.
func BenchmarkMassExpiry(b *testing.B) {
	for b.Loop() {
		const n, neighbours = 1_000_000, 10_000
		const beat, patience = 250 * time.Millisecond, time.Second
		e := new(Engine)
		var lost, ended atomic.Int64
		done := make(chan time.Time)
		alive := make([]*Lease, neighbours)
		for i := range alive {
			alive[i] = e.Grant(Sliding(patience), func(Expiry) { lost.Add(1) })
		}
		var beating atomic.Bool
		beating.Store(true)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for beating.Load() {
				for _, l := range alive {
					l.Renew()
				}
				time.Sleep(beat)
			}
		}()
		due := time.Now().Add(4 * time.Second) // granting a million takes a while
		expire := func(Expiry) {
			if ended.Add(1) == n {
				done <- time.Now()
			}
		}
		for range n {
			e.Grant(Fixed(time.Until(due)), expire)
		}
		before := heap()
		if time.Now().After(due) {
			b.Fatal("the machine is too slow for this")
		}
		most := before
		var last time.Time
		for look := time.NewTicker(5 * time.Millisecond); last.IsZero(); {
			select {
			case last = <-done:
				look.Stop()
			case <-look.C:
				most = max(most, heapInUse())
			}
		}
		b.ReportMetric(float64(most-before)/n, "B/lease-most")
		b.ReportMetric(float64(e.Stats().LateMax)/1e6, "ms-decided")
		b.ReportMetric(float64(last.Sub(due))/1e6, "ms-ended")
		time.Sleep(patience)
		beating.Store(false)
		<-stopped
		b.ReportMetric(float64(lost.Load()), "lost")
		for _, l := range alive {
			l.Release()
		}
	}
}
