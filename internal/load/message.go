package load

import (
	"bufio"
	"encoding/json"
	"io"
	"sync"
	"time"
)

// An order is a line from the coordinator to a worker. One of its fields is
// set.
type order struct {
	Serve   *serveOrder   `json:",omitempty"`
	Hold    *holdOrder    `json:",omitempty"`
	Churn   *churnOrder   `json:",omitempty"`
	Connect *connectOrder `json:",omitempty"`
	Silence *silenceOrder `json:",omitempty"`
	Starve  *starveOrder  `json:",omitempty"`
	Burn    *burnOrder    `json:",omitempty"`
	Mark    bool          `json:",omitempty"` // a server's sessions of now are those whose ends it is asked about
	Watch   *bool         `json:",omitempty"` // note each change, or no longer
	Tidy    bool          `json:",omitempty"` // collect garbage
	Profile *profileOrder `json:",omitempty"`
	Report  *reportOrder  `json:",omitempty"`
}

// serveOrder makes the worker a server.
type serveOrder struct {
	Transport string
	Codec     string
	Timeout   time.Duration
	Echo      bool          // send back what comes
	Borne     time.Duration // silence that the transport is to bear; less than Timeout: that
	IO        string        // Goroutine, Blocking or Parked
	Listen    string
	ReusePort bool

	Unprotected bool          // from taking its own stalls for its peers' silence
	Ends        bool          // be told of sessions' ends, and say what there is to say of them
	Slow        time.Duration // each time
	Identity    *identity     `json:",omitempty"` // where there is TLS
}

// holdOrder makes the worker a client that holds sessions.
type holdOrder struct {
	Transport string
	Codec     string
	Sessions  int // that it will be asked to open
	Beat      time.Duration
	Timeout   time.Duration // the servers'
	Borne     time.Duration // silence that the transport is to bear; less than Timeout: that
	Sources   Sources
	Judging   bool          // as a program of a user's does, whatever the transport
	Judge     time.Duration // how long the server may be silent; 0: as long as it bears itself

	Unprotected bool // from taking its own stalls for its servers' silence
}

// churnOrder makes the worker a client that connects, echoes and disconnects.
type churnOrder struct {
	Transport string
	Codec     string
	Parallel  int
	Timeout   time.Duration // the server's
	Pause     time.Duration // after each connection, of each that goes on at a time
	Sources   Sources
	Server    served
}

// connectOrder asks a client for more sessions.
type connectOrder struct {
	Server served
	N      int
}

// silenceOrder has a client's sessions fall silent: they stay, but send nothing
// any more.
type silenceOrder struct {
	N    int  // so many of them
	Last bool // each sends something before
}

// burnOrder makes the worker one that takes processor time from the others, when
// it is asked to starve them.
type burnOrder struct{}

// starveOrder has a server, or all processes, starved. A new order ends what
// the one before began.
type starveOrder struct {
	Kind string        // empty: of nothing
	For  time.Duration // at most
}

// profileOrder has the worker begin to profile its processor time, or write what
// its heap holds. A new order ends the profile that the one before began.
type profileOrder Profiles

// served is where a server can be reached.
type served struct {
	Addr string
	Pin  string `json:",omitempty"` // of its key, where there is TLS
}

// reportOrder asks for a note with the same number.
type reportOrder struct {
	Number  int
	Tidied  bool // with the memory of a process that has just been tidied
	Counted bool // with the number of its descriptors
	Restart bool // with what was measured since the last one that said so
	Stop    bool // churn: pause, when what is under way has been completed
	Resume  bool // churn: and go on
	Ends    bool // with the ends of silent sessions since the last one that said Restart
}

// A note is a line from a worker to the coordinator.
type note struct {
	Ready  *served   `json:",omitempty"` // it has begun; of a server: and listens there
	Report int       `json:",omitempty"` // the number of the order
	Usage  *usage    `json:",omitempty"`
	Server *serving  `json:",omitempty"`
	Client *holding  `json:",omitempty"`
	Churn  *churning `json:",omitempty"`
	Failed string    `json:",omitempty"` // why it gives up

	exited bool // it has ended; not on the wire
}

// serving is how far a server is.
type serving struct {
	Accepted int
	Live     int
	Closed   map[string]int // by reason
	Stalls   int            // of the engine
	Ends     *endings       `json:",omitempty"`
}

// endings are a server's figures of the ends of those sessions that it had when
// it was told to mark them.
type endings struct {
	Told        int           // of how many it was told
	Again       int           // and how often of one of which it had been told before
	First, Last int64         // when: in nanoseconds since 1970
	Fastest     int           // in any hundred milliseconds
	Late        time.Duration // after its deadline the latest verdict fell
	Closed      time.Duration // after its deadline the latest was closed
	Base, Peak  int64         // bytes on the heap: when it was told to mark, and at most since
	Lines       int           // of a log
}

// holding is how far a client is that holds sessions.
type holding struct {
	Connected  int
	Failed     map[string]int // sessions that could not be opened, by why
	Beats      int64
	Lost       int // sessions that ended though nobody asked for it
	FalseKills int // and those among them that the server ended for its policy
	Late       time.Duration
	Stalls     int     // of the engine, where it has one
	Silent     int     // sessions that fell silent as they were told to
	Ended      int     // and those among them that the server ended, in its time
	Ends       []int64 `json:",omitempty"` // when, of those that fell silent since the last report that said Restart: in nanoseconds since 1970
}

// end takes note that a silent session has ended. If it fell silent before the
// last report that said Restart, whoever waited for that does so no more.
func (h *holding) end(late bool) {
	h.Ended++
	if !late {
		h.Ends = append(h.Ends, time.Now().UnixNano())
	}
}

func (h *holding) failed() int { return sum(h.Failed) }

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// churning is how far a client is that churns.
type churning struct {
	For       time.Duration // that was measured
	Cycles    int
	Failed    map[string]int // cycles that were not completed, by why
	Latencies []latencies    `json:",omitempty"`
}

// latencies are quantiles, as bench.Latency has them.
type latencies struct {
	What   string
	Values []time.Duration
}

// noteEvery is how often a client notes how many sessions it has, while that
// changes.
const noteEvery = 20 * time.Millisecond

// A noter writes notes. It is for any goroutine.
type noter struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func newNoter(w io.Writer) *noter { return &noter{enc: json.NewEncoder(w)} }

// note writes n. An error is nothing to act upon: whoever does not take notes
// any more has closed the worker's stdin, too.
func (w *noter) note(n note) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enc.Encode(n)
}

// readOrders hands orders to take until r ends.
func readOrders(r io.Reader, take func(order)) error {
	dec := json.NewDecoder(bufio.NewReader(r))
	for {
		var o order
		switch err := dec.Decode(&o); err {
		case nil:
			take(o)
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}
