package load

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Work is a worker's main: it obeys the orders that it reads until there are no
// more. It returns the exit status, and leaves it to the process's end to close
// what is open: that is the fastest way.
func Work(stdin io.Reader, stdout io.Writer) int {
	// A terminal, or whoever ends a group of processes, tells all of them. What
	// the workers do then is for the coordinator to say.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	w := &worker{notes: newNoter(stdout)}
	if err := readOrders(stdin, w.obey); err != nil {
		w.notes.note(note{Failed: "reading orders: " + err.Error()})
		return 1
	}
	return 0
}

// A worker is a process of a run. Its first order makes it what it is.
type worker struct {
	notes    *noter
	role     role // nil: none yet
	profiler profiler
}

// A role is what a worker has been made: a server, or a client of some kind.
// Its methods are called by the goroutine that reads the orders.
type role interface {
	// connect opens more sessions, and notes how it gets on.
	connect(connectOrder)

	// watch turns notes of each change on and off.
	watch(on bool)

	// report completes the answer to an order.
	report(o reportOrder, answer *note)
}

// Some roles have more to do.
type (
	silencer interface{ silence(silenceOrder) }
	starver  interface{ starve(starveOrder) }
	marker   interface{ mark() }
)

func (w *worker) obey(o order) {
	if w.role == nil {
		ready, err := w.begin(o)
		if err != nil {
			w.notes.note(note{Failed: err.Error()})
			return
		}
		w.notes.note(note{Ready: &ready})
		return
	}
	switch {
	case o.Connect != nil:
		w.role.connect(*o.Connect)
	case o.Watch != nil:
		w.role.watch(*o.Watch)
	case o.Silence != nil:
		w.role.(silencer).silence(*o.Silence)
	case o.Starve != nil:
		w.role.(starver).starve(*o.Starve)
	case o.Mark:
		w.role.(marker).mark()
	case o.Tidy:
		tidy()
	case o.Profile != nil:
		if err := w.profiler.obey(*o.Profile); err != nil {
			w.notes.note(note{Failed: err.Error()})
		}
	case o.Report != nil:
		w.report(*o.Report)
	}
}

func (w *worker) begin(o order) (ready served, err error) {
	switch {
	case o.Serve != nil:
		w.role, ready, err = serve(*o.Serve, w.notes)
	case o.Hold != nil && o.Hold.Transport == "tcp" && !o.Hold.Judging:
		w.role, err = newRawClient(*o.Hold, w.notes)
	case o.Hold != nil:
		w.role, err = newClient(*o.Hold, w.notes)
	case o.Burn != nil:
		w.role = new(burner)
	case o.Churn != nil:
		w.role, err = newChurner(*o.Churn, w.notes)
	default:
		err = errors.New("the first order makes no sense")
	}
	return ready, err
}

// report answers with the process's figures, and what its role knows.
func (w *worker) report(o reportOrder) {
	u := readUsage(o.Tidied)
	if o.Counted {
		u.Descriptors = openDescriptors()
	}
	answer := note{Report: o.Number, Usage: &u}
	w.role.report(o, &answer)
	w.notes.note(answer)
}
