package transporttest

import (
	"context"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/livenet/livenet/transport"
)

// Memory is a transport within the process. Its zero value is ready; don't copy it. Each
// Memory is a network of its own. Addresses are arbitrary strings, except that Listen
// chooses the port of "host:0".
//
// It multiplexes, and carries the codes of sessions and streams. It has no goroutines and
// blocks only on channels and timers, so that deadlines are exact within a testing/synctest
// bubble.
type Memory struct {
	// Buffer is how many bytes a stream holds in each direction before Write
	// blocks. Zero is 64 KiB.
	Buffer int

	// Streams is how many streams either end of a session may have open before
	// OpenStream blocks. Zero is 256.
	Streams int

	mu        sync.Mutex // guards the fields below, and the listeners
	listeners map[memoryAddr]*memoryListener
	ports     int // the last port chosen
}

var _ transport.Transport = (*Memory)(nil)

func (m *Memory) buffer() int {
	if m.Buffer > 0 {
		return m.Buffer
	}
	return 64 << 10
}

func (m *Memory) streams() int {
	if m.Streams > 0 {
		return m.Streams
	}
	return 256
}

// Listen fails if addr is taken.
func (m *Memory) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &memoryListener{memory: m, addr: memoryAddr(addr)}
	if host, port, err := net.SplitHostPort(addr); err == nil && port == "0" {
		l.addr = m.ephemeral(host)
	}
	if m.listeners[l.addr] != nil {
		return nil, &net.OpError{Op: "listen", Net: memoryNetwork, Addr: l.addr, Err: syscall.EADDRINUSE}
	}
	if m.listeners == nil {
		m.listeners = make(map[memoryAddr]*memoryListener)
	}
	m.listeners[l.addr] = l
	return l, nil
}

// Dial waits only while the listener's backlog is full.
func (m *Memory) Dial(ctx context.Context, addr string) (transport.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	server := memoryAddr(addr)
	err := ctx.Err()
	for err == nil {
		l := m.listeners[server]
		if l == nil {
			err = syscall.ECONNREFUSED
			break
		}
		if len(l.queue) < backlog {
			dialled, accepted := newLink(m, m.ephemeral("memory"), server)
			l.queue = append(l.queue, accepted)
			l.changed.broadcast()
			return dialled, nil
		}
		l.changed.wait(&m.mu, ctx.Done(), time.Time{})
		err = ctx.Err()
	}
	return nil, &net.OpError{Op: "dial", Net: memoryNetwork, Addr: server, Err: err}
}

// ephemeral is called with m.mu held.
func (m *Memory) ephemeral(host string) memoryAddr {
	for {
		m.ports++
		addr := memoryAddr(net.JoinHostPort(host, strconv.Itoa(m.ports)))
		if m.listeners[addr] == nil {
			return addr
		}
	}
}

// backlog is how many sessions wait for Accept before Dial waits too.
const backlog = 128

type memoryListener struct {
	memory  *Memory
	addr    memoryAddr
	queue   []*memorySession
	changed signal // queue, closed
	closed  bool
}

func (l *memoryListener) Accept(ctx context.Context) (transport.Session, error) {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, &net.OpError{Op: "accept", Net: memoryNetwork, Addr: l.addr, Err: net.ErrClosed}
		case len(l.queue) > 0:
			s := l.queue[0]
			l.queue = l.queue[1:]
			l.changed.broadcast()
			return s, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		l.changed.wait(&l.memory.mu, ctx.Done(), time.Time{})
	}
}

func (l *memoryListener) Addr() net.Addr { return l.addr }

// Close resets the sessions that were not accepted, as a kernel does.
func (l *memoryListener) Close() error {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	delete(l.memory.listeners, l.addr)
	for _, s := range l.queue {
		s.finish(transport.CloseError{Reset: true})
	}
	l.queue = nil
	l.changed.broadcast()
	return nil
}

const memoryNetwork = "memory"

type memoryAddr string

func (memoryAddr) Network() string  { return memoryNetwork }
func (a memoryAddr) String() string { return string(a) }
