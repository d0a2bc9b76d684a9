//go:build !linux

package load

import (
	"errors"
	"os/exec"

	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/tcp"
)

// What a run needs is Linux's: /proc to say what things cost, epoll to drive
// clients that are next to nothing, and loopback addresses to spread them over.

func supported() error {
	return errors.New("it needs Linux, which is asked what sessions cost")
}

// ReadLimits knows none of this system's limits.
func ReadLimits() Limits { return Limits{} }

func tie(*exec.Cmd)                          {}
func stopSelf()                              {}
func resident() int64                        { return 0 }
func openDescriptors() int64                 { return 0 }
func readMachine() (m machine)               { return m }
func spreadOver(Sources) transport.Transport { return tcp.Transport{} }

func (h *hand) stop() error { return supported() }
func (h *hand) goOn() error { return nil }

// A cgroup is Linux's.
type cgroup struct{}

func newCgroup() (*cgroup, error) { return nil, supported() }
func (c *cgroup) add(int) error   { return supported() }
func (c *cgroup) limit(int) error { return supported() }
func (c *cgroup) remove()         {}

func newRawClient(holdOrder, *noter) (role, error) { return nil, supported() }
