package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// A server, and its clients, run in processes of their own: this program
// again, told by the environment what to be. It obeys orders from standard
// input, one JSON value a line, and answers each on a pipe of its own, since
// some of the libraries write on standard output. It ends when there are no
// more orders, and so does not outlive its parent.

// childEnv is the environment variable that makes a child of a process, and
// holds its task.
const childEnv = "LIVENET_PEERS_CHILD"

// answersFD is the descriptor of that pipe: the first of exec.Cmd's ExtraFiles.
const answersFD = 3

// A task is what a child is to be.
type task struct {
	Kind string
	Addr string        // of the server, for a client; empty: be the server
	Beat time.Duration // how often sessions beat, where a library does that
}

// An order is something for a child to do.
type order struct {
	Do       string        // one of the following
	Sessions int           // how many there are to be, of open
	Beat     time.Duration // of beat
}

const (
	orderOpen  = "open"  // client: open sessions until there are as many
	orderBeat  = "beat"  // client: beat on each, where the library does not
	orderRest  = "rest"  // client: stop that
	orderCPU   = "cpu"   // server: what is the processor time used so far?
	orderWeigh = "weigh" // server: what is the memory used?
)

// An answer is what a child says when it has done as ordered.
type answer struct {
	Err       string
	Addr      string        // of a server, said once unasked: it listens
	Sessions  int           // live now
	Used      time.Duration // cpu
	Footprint footprint     // weigh
	Answered  int64         // rest: beats that were answered
}

// child is the life of a child.
func child(encoded string, in io.Reader, out io.Writer) error {
	var t task
	if err := json.Unmarshal([]byte(encoded), &t); err != nil {
		return fmt.Errorf("%s: %w", childEnv, err)
	}
	k, err := kindOf(t.Kind)
	if err != nil {
		return err
	}
	say := json.NewEncoder(out)
	var obey func(order) answer
	if t.Addr == "" {
		s := &server{beat: t.Beat}
		addr, err := k.serve(s)
		if err != nil {
			return err
		}
		obey = s.obey
		if err := say.Encode(answer{Addr: addr}); err != nil {
			return err
		}
	} else {
		c := k.dial(t.Addr, t.Beat)
		obey = func(o order) answer { return obeyAsClient(c, o) }
	}
	orders := json.NewDecoder(bufio.NewReader(in))
	for {
		var o order
		if err := orders.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := say.Encode(obey(o)); err != nil {
			return err
		}
	}
}

func (s *server) obey(o order) (a answer) {
	var err error
	switch o.Do {
	case orderCPU:
		a.Used = processorTime()
	case orderWeigh:
		a.Footprint, err = takeFootprint()
	default:
		err = fmt.Errorf("a server can't %q", o.Do)
	}
	a.Sessions = s.sessions()
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

func obeyAsClient(c client, o order) (a answer) {
	var err error
	switch o.Do {
	case orderOpen:
		err = c.open(o.Sessions)
	case orderBeat:
		c.beat(o.Beat)
	case orderRest:
		a.Answered, err = c.rest()
	default:
		err = fmt.Errorf("a client can't %q", o.Do)
	}
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

// A process is a child as its parent sees it.
type process struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *os.File
	orders  *json.Encoder
	says    *json.Decoder
}

// start starts a child, which dies with ctx.
func start(ctx context.Context, name string, t task, stderr io.Writer) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(encoded),
		// Two libraries would have something to say in every child: that this
		// machine's socket buffers are small, and that a server has started.
		"QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true",
		"GNET_LOGGING_LEVEL=2") // errors
	cmd.Stdout, cmd.Stderr = stderr, stderr
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child's copy is the one that counts
	cmd.ExtraFiles = []*os.File{out}
	if err := cmd.Start(); err != nil {
		answers.Close()
		return nil, err
	}
	return &process{name, cmd, in, answers, json.NewEncoder(in), json.NewDecoder(answers)}, nil
}

// order has the child do something, and waits until it is done.
func (p *process) order(o order) (answer, error) {
	if err := p.orders.Encode(o); err != nil {
		return answer{}, fmt.Errorf("%s, %s: %w", p.name, o.Do, err)
	}
	a, err := p.answer()
	if err != nil {
		err = fmt.Errorf("%s, %s: %w", p.name, o.Do, err)
	}
	return a, err
}

func (p *process) answer() (a answer, err error) {
	switch err := p.says.Decode(&a); {
	case err != nil:
		return a, fmt.Errorf("the process has ended: %w", err)
	case a.Err != "":
		return a, errors.New(a.Err)
	}
	return a, nil
}

// end ends the child. It has no words of farewell for its peer, which would
// have to be waited for.
func (p *process) end() {
	p.stdin.Close()
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.answers.Close()
}
