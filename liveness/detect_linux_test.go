package liveness_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A netHost is a host of its own: a thread in a network namespace, which goes away when
// the thread has ended and its sockets are closed.
type netHost struct {
	calls chan func()
	tid   int
	gone  sync.WaitGroup
}

func newNetHost(t *testing.T) *netHost {
	t.Helper()
	h := &netHost{calls: make(chan func())}
	var err error
	h.gone.Go(func() {
		runtime.LockOSThread() // for good: the thread is of no use to others
		err = unix.Unshare(unix.CLONE_NEWNET)
		h.tid = unix.Gettid()
		for f := range h.calls {
			f()
		}
	})
	h.do(func() {}) // it has begun
	if err != nil {
		h.close()
		t.Skip("a network namespace: ", err)
	}
	return h
}

// do calls f on the host's thread.
func (h *netHost) do(f func()) {
	done := make(chan struct{})
	h.calls <- func() { f(); close(done) }
	<-done
}

func (h *netHost) ip(commands ...string) (err error) {
	h.do(func() {
		for _, c := range commands {
			if out, e := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); e != nil && err == nil {
				err = fmt.Errorf("ip %s: %w: %s", c, e, out)
			}
		}
	})
	return err
}

func (h *netHost) close() {
	close(h.calls)
	h.gone.Wait()
}

// vanish loses all packets from and to a host without an error: they go to a card that
// does not exist.
func vanish(server, peer *netHost) error {
	const to = "neigh replace %s lladdr 02:00:00:00:00:01 dev veth nud permanent"
	return errors.Join(peer.ip(fmt.Sprintf(to, "10.0.0.1")), server.ip(fmt.Sprintf(to, "10.0.0.2")))
}

// linkedHosts returns two hosts on one link, and n TCP connections between them.
func linkedHosts(t *testing.T, server, peer *netHost, n int) (accepted, dialed []net.Conn, err error) {
	t.Helper()
	err = errors.Join(
		server.ip(fmt.Sprintf("link add veth type veth peer name veth netns %d", peer.tid), "addr add 10.0.0.1/24 dev veth", "link set veth up"),
		peer.ip("addr add 10.0.0.2/24 dev veth", "link set veth up"),
	)
	if err != nil {
		return nil, nil, err
	}
	var l net.Listener
	if server.do(func() { l, err = net.Listen("tcp4", "10.0.0.1:0") }); err != nil {
		return nil, nil, err
	}
	defer l.Close()
	for range n {
		var d net.Conn
		if peer.do(func() { d, err = net.DialTimeout("tcp4", l.Addr().String(), 5*sec) }); err != nil {
			return nil, nil, err
		}
		a, err := l.Accept()
		if err != nil {
			d.Close()
			return nil, nil, err
		}
		accepted, dialed = append(accepted, a), append(dialed, d)
	}
	return accepted, dialed, nil
}

// A peer whose host vanishes is ended a timeout after its kernel's last answer, whatever
// the connection was doing. (docs/policies.md has the table.)
func TestRule1AVanishedHostEndsATimeoutAfterItsLastAck(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no command ip")
	}
	const (
		timeout = LeastAckTimeout
		// The first judgement falls after the host has vanished, and before its kernel
		// has left more than one question unanswered.
		alive = timeout * 7 / 10
		held  = timeout / 8
	)
	names := []string{"idle", "data in flight", "window shut"}
	undisturbed(t, held, func(p *pulse) error {
		defer p.every(20 * ms)()
		server, peer := newNetHost(t), newNetHost(t)
		defer server.close()
		defer peer.close()
		accepted, dialed, err := linkedHosts(t, server, peer, len(names))
		var busy sync.WaitGroup
		defer busy.Wait()
		for i := range accepted {
			defer accepted[i].Close()
			defer dialed[i].Close()
		}
		if err != nil {
			return err
		}
		var conns []*Conn
		for i, name := range names {
			if _, err := dialed[i].Write([]byte("x")); err != nil {
				return err
			}
			c := NewConn(accepted[i], &Config{Policy: Sliding(timeout), Evidence: codec.Acks, Engine: new(Engine)})
			defer c.Close()
			if _, err := c.Read(make([]byte, 1)); err != nil {
				return err
			}
			conns = append(conns, c)
			piece, every := make([]byte, 64<<10), time.Duration(0)
			switch name {
			case "idle":
				continue
			case "data in flight":
				piece, every = piece[:100], 20*ms
				busy.Go(func() { io.Copy(io.Discard, dialed[i]) })
			}
			busy.Go(func() {
				for err := error(nil); err == nil; time.Sleep(every) {
					_, err = c.Write(piece)
				}
			})
		}
		time.Sleep(alive)
		for i, c := range conns {
			if e := c.End(); e != nil {
				return fmt.Errorf("%s: ended while the host was there: %v", names[i], e)
			}
		}
		began := time.Now()
		if err := vanish(server, peer); err != nil {
			return err
		}
		over := time.Now()
		for i, c := range conns {
			// What its kernel answers to comes every second at least.
			earliest, latest := began.Add(timeout-sec-held), over.Add(timeout+2*DefaultTick+held)
			select {
			case <-c.Done():
			case <-time.After(time.Until(latest)):
			}
			e, now := c.End(), time.Now()
			switch {
			case e == nil || now.After(latest):
				return fmt.Errorf("%s: not ended in time: %v", names[i], e)
			case e.Reason != Silent || e.Silence < timeout || e.Silence > timeout+2*DefaultTick+held:
				return fmt.Errorf("%s: ended %v, silent for %v", names[i], e, e.Silence)
			case now.Before(earliest):
				return fmt.Errorf("%s: ended %v early", names[i], earliest.Sub(now))
			}
		}
		return nil
	})
}
