package load

import (
	"time"

	"github.com/livenet/livenet/internal/bench"
)

// report is what was found, as far as the run got.
func (r *holdRun) report() *bench.Report {
	rep := &bench.Report{Bench: "hold", Settings: []bench.Field{
		setting("transport", r.Transport),
		setting("codec", r.Codec),
		setting("io", r.IO),
		setting("sessions", r.Sessions),
		setting("beat", r.Beat),
		setting("timeout", r.Timeout),
		setting("for", r.For),
	}}
	if r.ReusePort {
		rep.Settings = append(rep.Settings, setting("reuse-port", "on"))
	}
	rep.Tables = []*bench.Table{r.sessionsTable(), r.memoryTable(), r.processorTable(), r.endsTable(), r.failedTable()}
	return rep
}

func (r *holdRun) sessionsTable() *bench.Table {
	t := &bench.Table{Key: "rows", Columns: []bench.Column{
		{Head: "sessions", Key: "sessions", Kind: bench.Count},
		{Head: "connects/s", Key: "connects_per_s", Kind: bench.Count},
		{Head: "held", Key: "held_s", Kind: bench.Seconds},
		{Head: "beats/s", Key: "beats_per_s", Kind: bench.Count},
		{Head: "latest beat", Key: "latest_beat_ms", Kind: bench.Millis},
		{Head: "false kills", Key: "false_kills", Kind: bench.Count},
		{Head: "lost", Key: "lost", Kind: bench.Count},
	}}
	n := r.tally.connected
	if n == 0 {
		return t
	}
	held := r.holding > 0
	t.Add(n, float64(n)/max(r.connecting.Seconds(), 1e-9), or(held, r.holding),
		or(held, float64(r.last.beats-r.first.beats)/max(r.holding.Seconds(), 1e-9)), or(r.latest > 0, r.latest),
		r.tally.kills, r.tally.lost)
	return t
}

// memoryTable says what a session costs: the difference between the server
// processes with all of their sessions, idle, and without.
func (r *holdRun) memoryTable() *bench.Table {
	t := &bench.Table{Key: "memory", Title: "Memory per session", Columns: []bench.Column{
		{Head: "", Key: "what", Kind: bench.Text},
		{Head: "each", Key: "bytes_per_session", Kind: bench.Size},
		{Head: "all", Key: "bytes", Kind: bench.Size},
	}}
	if r.measured == 0 {
		return t
	}
	add := func(part string, bytes int64) {
		t.Add(part, float64(bytes)/float64(r.measured), float64(bytes))
	}
	before, after := r.before, r.after
	rss := after.servers.RSS - before.servers.RSS
	heap := after.servers.Heap - before.servers.Heap
	stacks := after.servers.Stacks - before.servers.Stacks
	add("server", rss)
	add("server-heap", heap)
	add("server-stacks", stacks)
	add("server-runtime", rss-heap-stacks)
	add("client", after.clients.RSS-before.clients.RSS)
	add("kernel", after.machine.slab-before.machine.slab)
	add("socket-buffers", after.machine.buffers-before.machine.buffers)
	add("machine", before.machine.available-after.machine.available)
	t.Note("server and client are what of their processes is resident; server-runtime is what " +
		"of that is neither heap nor stacks. The last three are the whole machine's, for both ends and " +
		"whatever else it does: slab memory, what sockets are charged for, and what is not available any more.")
	return t
}

func (r *holdRun) processorTable() *bench.Table {
	t := &bench.Table{Key: "processors", Title: "Processors, while holding", Columns: []bench.Column{
		{Head: "", Key: "what", Kind: bench.Text},
		{Head: "processes", Key: "processes", Kind: bench.Count},
		{Head: "of a core", Key: "cpu_percent", Kind: bench.Percent},
		{Head: "kernel's", Key: "kernel_percent", Kind: bench.Percent},
		{Head: "per beat", Key: "cpu_us_per_beat", Kind: bench.Micros},
	}}
	if r.holding == 0 {
		return t
	}
	percent := func(d int64) float64 { return 100 * float64(d) / float64(r.holding) }
	add := func(of string, processes int, first, last usage) {
		cpu, beats := last.CPU-first.CPU, r.last.beats-r.first.beats
		t.Add(of, processes, percent(cpu), percent(last.Kernel-first.Kernel), or(beats > 0, time.Duration(cpu/max(beats, 1))))
	}
	add("servers", len(r.servers), r.first.servers, r.last.servers)
	add("clients", len(r.clients), r.first.clients, r.last.clients)
	t.Note("The kernel's work is part of the whole; the rest is the program's own.")
	return t
}

// endsTable is empty after a run in which all sessions were there to the end.
func (r *holdRun) endsTable() *bench.Table {
	return tableOf("ends", "Sessions that ended, as the servers saw it", "reason", "sessions", r.ends())
}

func (r *holdRun) failedTable() *bench.Table {
	return tableOf("failed", "Sessions that could not be opened", "error", "sessions", r.tally.failed)
}
