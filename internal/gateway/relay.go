package gateway

import (
	"context"
	"io"

	"github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// Relay moves bytes between a client and its upstream until both have ended their data,
// one has failed, or ctx has ended. Each one's end of data is passed on, and the other
// direction goes on. It closes up; c is left to its owner, unless the upstream failed: then
// c ends with [liveness.UpstreamFailed].
func Relay(ctx context.Context, c, up *liveness.Conn) {
	defer up.Close()
	// When the client's end comes, the upstream is to see that it is no orderly one.
	defer context.AfterFunc(ctx, func() { reset(up) })()

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
	if refused := <-sent; err == nil && refused != nil && c.End() == nil {
		fail(c, refused)
	}
	if c.End() != nil {
		reset(up)
	}
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
