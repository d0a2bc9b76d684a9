package load

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/stack"
	"github.com/livenet/livenet/transport"
	"github.com/livenet/livenet/transport/yamux"
)

// A way is how a client reaches servers.
type way struct {
	transport string
	borne     time.Duration       // silence, by the transport
	tcp       transport.Transport // what yamux goes over
}

func newWay(name string, borne time.Duration, sources Sources) *way {
	return &way{name, borne, spreadOver(sources)}
}

// to is the transport by which a server can be reached.
func (w *way) to(s served) (transport.Transport, error) {
	switch w.transport {
	case "tcp":
		return w.tcp, nil
	case "yamux":
		return yamux.Transport{Inner: w.tcp}, nil
	}
	var conf *tls.Config
	if s.Pin != "" {
		pin, err := devtls.ParsePin(s.Pin)
		if err != nil {
			return nil, err
		}
		conf = pin.Config()
	}
	return stack.New(w.transport, conf, stack.Limits{Silence: stack.Backstop(w.borne), Handshake: 2 * dialTime})
}

// dialTime is how long opening a session may take.
const dialTime = 30 * time.Second

// counted counts the beats that a client sends, and has the coder of one
// session, which can be kept from sending any.
type counted struct {
	codec.Codec
	beats *atomic.Int64
	coder countedCoder
}

func (c *counted) Client(hello codec.Hello) codec.Coder {
	c.coder.Coder, c.coder.beats = c.Codec.Client(hello), c.beats
	return &c.coder
}

type countedCoder struct {
	codec.Coder
	beats *atomic.Int64
	beat  atomic.Int64 // when the last one was made: in nanoseconds since 1970
	quiet atomic.Bool
}

// last is when the last beat was made: a little before it was sent.
func (c *countedCoder) last() time.Time { return time.Unix(0, c.beat.Load()) }

func (c *countedCoder) AppendPing(dst []byte, seq uint32) ([]byte, bool) {
	if c.quiet.Load() {
		return dst, false
	}
	dst, ok := c.Coder.AppendPing(dst, seq)
	if ok {
		c.beats.Add(1)
		c.beat.Store(time.Now().UnixNano())
	}
	return dst, ok
}

// why is an error without what differs from one session to the next, such as
// its addresses.
func why(err error) string {
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Error()
	}
	for {
		op, ok := errors.AsType[*net.OpError](err)
		if !ok || op.Err == nil {
			return err.Error()
		}
		err = op.Err
	}
}
