package liveness

import (
	"net"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
)

// BenchmarkRenew compares what a sign of life costs: with a lease, and with
// what one would use instead. One connection or timer each; see
// BenchmarkRenewParallel renews one lease from every processor.
func BenchmarkRenewParallel(b *testing.B) {
	e := new(Engine)
	l := e.Grant(Sliding(time.Hour), func(*Error) {})
	defer l.Release()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Renew()
		}
	})
}

// populate grants leases in all shards of an engine.
func populate(b *testing.B, e *Engine, s subject) {
	leases := make([]*Lease, 1000)
	leases[0] = e.watch(s) // starts the clock
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
				e.watch(s).Release()
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

// BenchmarkAcked measures what acks add to a judgement: the query of TCP_INFO.
func BenchmarkAcked(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	a, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	c := NewConn(a, &Config{Policy: Sliding(time.Hour), Evidence: codec.Acks, Engine: new(Engine)})
	defer c.Close()
	d.Write([]byte("x"))
	c.Read(make([]byte, 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := c.lastHeard(); !ok {
			b.Fatal("the kernel knows nothing")
		}
	}
}
