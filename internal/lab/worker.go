package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Servers and clients are processes of their own: this program again. The
// coordinator writes orders to a worker's stdin, a line of JSON each, and reads
// one answer to each from a pipe, since some libraries print to stdout. A worker
// ends when its stdin does, and so never outlives its coordinator.

const (
	// workerEnv makes the process a worker.
	workerEnv = "LIVENET_LAB_WORKER"

	// answersFD is the answers' descriptor: the first of exec.Cmd's ExtraFiles.
	answersFD = 3
)

// An order is something for a worker to do. What is set is done from top to
// bottom; every answer has the role's state. The first order says what to be.
type order struct {
	Serve *serveTask `json:",omitempty"`
	Dial  *dialTask  `json:",omitempty"`
	Churn *churnTask `json:",omitempty"`

	Detect  *detectTask  `json:",omitempty"`
	IP      []string     `json:",omitempty"` // of a detection: what command ip is to do in the worker's network
	Connect *connectTask `json:",omitempty"` // a detection's peers

	Open    int      `json:",omitempty"` // client: open so many more sessions
	Await   int      `json:",omitempty"` // server: wait until so many sessions live
	Silence *silence `json:",omitempty"` // client
	Mark    bool     `json:",omitempty"` // server: note the ends of the sessions of now
	Restart bool     `json:",omitempty"` // client: forget ends, and how late beats were. churner: begin
	Stop    bool     `json:",omitempty"` // churner: stop, when what is under way is done
	Profile string   `json:",omitempty"` // begin a CPU profile there
	Heap    string   `json:",omitempty"` // end it, and write a heap profile there
	Usage   bool     `json:",omitempty"` // with the process's figures
	Tidy    bool     `json:",omitempty"` // after a collection that gives memory back
}

// A silence makes sessions fall silent: they stay open and send nothing.
type silence struct {
	N    int
	Beat bool // once more before
}

// An answer is a worker's, to one order.
type answer struct {
	Err    string       `json:",omitempty"`
	Addr   string       `json:",omitempty"` // of a server
	Usage  *usage       `json:",omitempty"`
	Server *serverState `json:",omitempty"`
	Client *clientState `json:",omitempty"`
	Churn  *churnState  `json:",omitempty"`
	Detect *detectState `json:",omitempty"`
}

// A role is what a worker is. obey is called for one order at a time.
type role interface {
	obey(order, *answer) error
}

// work is a worker's main.
func work(orders io.Reader, answers io.Writer) error {
	// What a terminal's interrupt means is for the coordinator to say.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	var r role
	var profile profiler
	in, out := json.NewDecoder(orders), json.NewEncoder(answers)
	for {
		var o order
		if err := in.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		err := error(nil)
		if r == nil {
			r, err = newRole(o, &a)
		} else {
			err = r.obey(o, &a)
		}
		err = errors.Join(err, profile.obey(o))
		if o.Tidy {
			tidy()
		}
		if o.Usage {
			a.Usage = readUsage()
		}
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func newRole(o order, a *answer) (role, error) {
	switch {
	case o.Serve != nil:
		return serve(*o.Serve, a)
	case o.Dial != nil && o.Dial.raw():
		return newRawClient(*o.Dial)
	case o.Dial != nil:
		return newClient(*o.Dial)
	case o.Churn != nil:
		return newChurner(*o.Churn)
	case o.Detect != nil:
		return newDetector(*o.Detect, a)
	}
	return nil, errors.New("the first order makes nothing of the worker")
}

// A clientState is what a client of many sessions has counted.
type clientState struct {
	Connected  int
	Failed     tally // sessions that could not be opened, by error
	Beats      int64 // sent
	Answered   int64 // raw clients whose server echoes
	Late       time.Duration
	Lost       int     // sessions that ended, for whatever reason
	FalseKills int     // of these: ended for silence although they beat in time
	Ended      int     // of these: silent ones that were ended in time
	Ends       []int64 // when those ended that fell silent since Restart: Unix nanoseconds
	Stalls     int     // that its engine noticed
}

// alive is how many sessions there are.
func (s *clientState) alive() int { return s.Connected - s.Lost }

// gone is how many were lost that should not have been, beside false kills.
func (s *clientState) gone() int { return s.Lost - s.Ended - s.FalseKills }

// add adds another client's.
func (s *clientState) add(c *clientState) {
	s.Connected += c.Connected
	s.Beats += c.Beats
	s.Answered += c.Answered
	s.Late = max(s.Late, c.Late)
	s.Lost += c.Lost
	s.FalseKills += c.FalseKills
	s.Ended += c.Ended
	s.Stalls += c.Stalls
	s.Ends = append(s.Ends, c.Ends...)
	if s.Failed == nil {
		s.Failed = make(tally)
	}
	s.Failed.add(c.Failed)
}
