package gateway

import (
	"context"
	"io"
	"time"

	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// Relay moves bytes between a client and its upstream until both have ended their data,
// one has failed, or ctx has ended. Each one's end of data is passed on, and the other
// direction goes on. It closes up; c is left to its owner, unless the upstream failed: then
// c ends with [liveness.UpstreamFailed].
func Relay(ctx context.Context, c, up *liveness.Conn) {
	defer up.Close()
	// When the client's end comes, the upstream must see an error, unless the client had done:
	// then it gets what the client has sent, and no one takes its answer.
	defer context.AfterFunc(ctx, func() {
		if !done(c) {
			reset(up)
			return
		}
		up.SetReadDeadline(time.Unix(1, 0))
		up.SetWriteDeadline(time.Now().Add(lastWordsTime))
	})()

	sent := make(chan error, 1)
	go func() {
		err := pass(up, c)
		if err != nil && c.End() != nil {
			reset(up)
		}
		sent <- err
	}()
	err := pass(c, up)
	switch failed := up.End(); {
	case err != nil && failed != nil:
		fail(c, failed)
	case err != nil && ctx.Err() != nil: // c may be open: an EOF would look like the whole answer
		c.CloseWith(liveness.UpstreamFailed, "")
	case err != nil: // the client takes nothing any more
		c.Close()
	}
	refused := <-sent
	if err == nil && refused != nil && c.End() == nil {
		fail(c, refused)
	}
	if c.End() != nil && (refused != nil || !done(c)) {
		reset(up)
	}
}

// lastWordsTime is how long an upstream may take to read what a client had sent before it
// closed.
const lastWordsTime = 30 * time.Second

// done reports whether c has ended in an orderly way.
func done(c *liveness.Conn) bool {
	e := c.End()
	return e != nil && e.Reason == liveness.Done && e.Initiator == liveness.Peer
}

// pass copies from's data to the other, and its end. Where that can't be passed on the
// other direction tells why.
func pass(to, from *liveness.Conn) error {
	_, err := io.Copy(to, from)
	if err == nil {
		to.CloseWrite()
	}
	return err
}

// fail ends a client's connection whose upstream has failed.
func fail(c *liveness.Conn, err error) {
	c.CloseWith(liveness.UpstreamFailed, cause(err))
}

// reset drops an upstream's connection: an EOF would look like the whole request.
func reset(up *liveness.Conn) {
	if s, ok := up.NetConn().(transport.Stream); ok {
		s.Reset(liveness.Done.Code())
	}
}
