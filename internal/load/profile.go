package load

import (
	"errors"
	"os"
	"runtime/pprof"
)

// Profiles are files for what pprof is to read: of the first server, while
// sessions are held. Empty: there is none.
type Profiles struct {
	CPU  string
	Heap string // when they have been held
}

func (p Profiles) names() []string {
	var names []string
	for _, name := range []string{p.CPU, p.Heap} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// create makes the files, so that one that can't be written to is known before
// anything has been measured for it.
func (p Profiles) create() error {
	for _, name := range p.names() {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// A profiler writes the profiles of its process.
type profiler struct{ cpu *os.File }

func (p *profiler) obey(o profileOrder) error {
	var failed error
	if p.cpu != nil {
		pprof.StopCPUProfile()
		failed = p.cpu.Close()
		p.cpu = nil
	}
	if o.CPU != "" {
		f, err := os.Create(o.CPU)
		if err == nil {
			p.cpu, err = f, pprof.StartCPUProfile(f)
		}
		failed = errors.Join(failed, err)
	}
	if o.Heap != "" {
		failed = errors.Join(failed, writeHeap(o.Heap))
	}
	return failed
}

func writeHeap(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	tidy() // what is in use, not what was
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}
