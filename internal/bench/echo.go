package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// An Echo measures an echo of messages, one at a time, on the bare transport
// and under liveness. They take turns, so that whatever else the machine does
// meanwhile falls on all alike.
type Echo struct {
	Transports []string      // of EchoTransports
	Codecs     []string      // of EchoCodecs
	Size       int           // of a message: from 1 to MostEchoSize
	For        time.Duration // how long each row is measured
}

// What an Echo can be told.
var (
	EchoTransports = []string{"tcp", "tls", "yamux", "quic"}
	EchoCodecs     = []string{"raw", "frame"}
)

// MostEchoSize is the longest message. One that is longer than the windows of a
// transport would never come to its end: the server sends the beginning back
// while the client, who reads only afterwards, still writes.
const MostEchoSize = 64 << 10

// echoRounds is how many turns each has.
const echoRounds = 10

// Run measures until it is done or ctx ends.
func (e Echo) Run(ctx context.Context, p Progress) (*Report, error) {
	t := e.table()
	report := &Report{
		Bench: "echo",
		Settings: []Field{
			{Head: "transport", Key: "transport", Value: OneOrAll(e.Transports, EchoTransports)},
			{Head: "codec", Key: "codec", Value: OneOrAll(e.Codecs, EchoCodecs)},
			{Head: "messages of", Key: "size_bytes", Kind: Size, Value: e.Size},
			{Head: "each row for", Key: "for_s", Kind: Seconds, Value: e.For},
		},
		Tables: []*Table{t},
	}
	c := &course{to: p, total: e.For * time.Duration(len(e.Transports)*(1+len(e.Codecs)))}
	for _, transport := range e.Transports {
		if err := e.transport(ctx, c, t, transport); err != nil {
			return report, fmt.Errorf("%s: %w", transport, err)
		}
	}
	return report, nil
}

func (e Echo) table() *Table {
	t := &Table{
		Key:   "rows",
		Title: "An echo",
		Columns: append([]Column{
			{Head: "transport", Key: "transport", Kind: Text},
			{Key: "under", Kind: Text},
			{Head: "MiB/s", Key: "mib_per_s", Kind: Number},
			{Head: "msgs/s", Key: "messages_per_s", Kind: Count},
			{Head: "worst", Key: "worst_messages_per_s", Kind: Count},
			{Head: "CPU/msg", Key: "cpu_us_per_message", Kind: Micros},
			{Head: "ratio", Key: "ratio", Kind: Ratio},
			{Head: "worst", Key: "worst_ratio", Kind: Ratio},
		}, Quantiles(true)...),
	}
	t.Note("Medians and worst of %d rounds, in which all of a transport take turns. Ratio is "+
		"of messages a second, against the bare transport in the same round. MiB/s count "+
		"a message once; processor time counts both ends and the kernel. The latency is "+
		"that of a message there and back.", echoRounds)
	return t
}

// transport measures one transport: bare, and under each codec.
func (e Echo) transport(ctx context.Context, c *course, t *Table, name string) (err error) {
	if ctx.Err() != nil {
		return nil
	}
	c.begin(name)
	var list []*echo
	defer func() {
		for _, l := range list {
			err = errors.Join(err, l.close())
		}
		if ctx.Err() != nil {
			err = nil // whatever failed, failed for that
		}
	}()
	for _, under := range append([]string{bare}, e.Codecs...) {
		l, err := newEcho(ctx, name, under, e.Size)
		if err != nil {
			return err
		}
		list = append(list, l)
	}
	// Nothing else ends a read that waits.
	stop := context.AfterFunc(ctx, func() {
		for _, l := range list {
			l.conn.Close()
		}
	})
	defer stop()
	defer e.rows(t, name, list)
	for round := range echoRounds {
		for i := range list {
			l := list[(i+round)%len(list)]
			c.begin(name + ": " + l.words())
			if err := l.round(ctx, e.For/echoRounds, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows adds what there is. The first of list is the bare transport.
func (e Echo) rows(t *Table, name string, list []*echo) {
	const mebibyte = 1 << 20
	for i, l := range list {
		if len(l.speeds) == 0 {
			continue
		}
		speed := Median(l.speeds)
		var ratio, worst any
		if i > 0 {
			if r := ratios(l.speeds, list[0].speeds); len(r) > 0 {
				ratio, worst = Median(r), slices.Min(r)
			}
		}
		t.Add(append([]any{
			name, Label{l.under, l.words()},
			speed * float64(e.Size) / mebibyte, speed, slices.Min(l.speeds),
			time.Duration(Median(l.cpu)), ratio, worst,
		}, l.latency.Values()...)...)
	}
}

// ratios are those of rounds that both had.
func ratios(a, b []float64) []float64 {
	var r []float64
	for i := range min(len(a), len(b)) {
		r = append(r, a[i]/b[i])
	}
	return r
}
