package load

import (
	"context"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/bench"
	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// A churner is the role of a worker that connects, has a message echoed, and
// disconnects, over and over.
type churner struct {
	dialer liveness.Client
	way    transport.Transport
	server served

	parallel int
	pause    time.Duration
	stop     chan struct{} // closed to stop the loops
	loops    sync.WaitGroup

	mu        sync.Mutex
	over      bool // what succeeds is counted no more
	began     time.Time
	state     churning
	latencies []*bench.Latency // by phase
}

// The phases of a cycle.
const (
	phaseConnect = iota
	phaseEcho
	phaseClose
	phaseAll
)

var phases = []string{phaseConnect: "connect", phaseEcho: "echo", phaseClose: "close", phaseAll: "all"}

func newChurner(o churnOrder, _ *noter) (role, error) {
	code, err := codec.ByName(o.Codec)
	if err != nil {
		return nil, err
	}
	t, err := newWay(o.Transport, o.Timeout, o.Sources).to(o.Server)
	if err != nil {
		return nil, err
	}
	c := &churner{dialer: liveness.Client{Codec: code}, way: t, server: o.Server, parallel: o.Parallel, pause: o.Pause}
	c.restart()
	c.resume()
	return c, nil
}

func (c *churner) resume() {
	stop := make(chan struct{})
	c.stop = stop
	for range c.parallel {
		c.loops.Go(func() { c.loop(stop) })
	}
}

func (c *churner) connect(connectOrder) {}
func (c *churner) watch(bool)           {}

// restart begins to measure anew. The lock is held, or not needed yet.
func (c *churner) restart() {
	c.began, c.over = time.Now(), false
	c.state = churning{Failed: make(map[string]int)}
	c.latencies = nil
	for range phases {
		c.latencies = append(c.latencies, bench.NewLatency())
	}
}

func (c *churner) report(o reportOrder, answer *note) {
	c.mu.Lock()
	took := time.Since(c.began)
	c.over = o.Stop
	c.mu.Unlock()
	if o.Stop {
		// Those that are under way are not part of what is measured: there are
		// as many as run at a time. But one that hangs has failed.
		close(c.stop)
		c.loops.Wait()
	}
	if o.Resume {
		defer c.resume()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.state
	state.For = took
	state.Failed = maps.Clone(state.Failed)
	if o.Restart {
		for i, l := range c.latencies {
			if l.Count() == 0 {
				continue
			}
			p := latencies{What: phases[i]}
			for _, v := range l.Values() {
				p.Values = append(p.Values, v.(time.Duration))
			}
			state.Latencies = append(state.Latencies, p)
		}
		c.restart()
	}
	answer.Churn = &state
}

// afterFailure is the pause after a cycle that failed: whatever the reason, it
// does not go away by asking again at once.
const afterFailure = 20 * time.Millisecond

func (c *churner) loop(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		took, err := c.cycle()
		c.mu.Lock()
		if err != nil {
			c.state.Failed[why(err)]++
		} else if !c.over {
			c.state.Cycles++
			for i, d := range took {
				c.latencies[i].Record(d)
			}
		}
		c.mu.Unlock()
		if err != nil {
			time.Sleep(afterFailure)
		} else if c.pause > 0 {
			time.Sleep(c.pause)
		}
	}
}

// churnMessage is what is echoed.
var churnMessage = []byte("is anybody there")

// cycle is one connection's whole life.
func (c *churner) cycle() (took [phaseAll + 1]time.Duration, err error) {
	began := time.Now()
	last := began
	lap := func(phase int) {
		now := time.Now()
		took[phase] = now.Sub(last)
		last = now
	}
	dialling, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	conn, err := c.dialer.Dial(dialling, c.way, c.server.Addr)
	if err != nil {
		return took, err
	}
	lap(phaseConnect)
	if err := exchange(conn); err != nil {
		conn.Close()
		return took, err
	}
	lap(phaseEcho)
	conn.Close()
	lap(phaseClose)
	took[phaseAll] = last.Sub(began)
	return took, nil
}

func exchange(conn *liveness.Conn) error {
	conn.SetDeadline(time.Now().Add(dialTime))
	if _, err := conn.Write(churnMessage); err != nil {
		return err
	}
	got := make([]byte, len(churnMessage))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != string(churnMessage) {
		return fmt.Errorf("the echo is %q", got)
	}
	return nil
}
