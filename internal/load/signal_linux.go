package load

import (
	"os"
	"syscall"
)

// stop stops a worker, wherever it is, until it is told to go on. It does not
// stop its end: a worker whose coordinator ends is killed by the kernel.
func (h *hand) stop() error { return h.cmd.Process.Signal(syscall.SIGSTOP) }

// goOn has a worker go on that was stopped.
func (h *hand) goOn() error { return h.cmd.Process.Signal(syscall.SIGCONT) }

// stopSelf stops this process.
func stopSelf() { syscall.Kill(os.Getpid(), syscall.SIGSTOP) }
