package liveness

import (
	"context"
	"sync/atomic"
)

// A handlerContext ends with its connection, neither before nor after, and the
// connection's end is its cause. What that takes is made when somebody asks for
// it: most handlers wait in Read, and there may be very many of them.
type handlerContext struct {
	context.Context // has its values, and does not end
	state           *state
	inner           atomic.Pointer[innerContext] // nil: nobody has asked
}

type innerContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

// initContext gives c a context if its server has a handler that takes one.
func (c *Conn) initContext(ctx context.Context) {
	if c.srv.Handler != nil {
		c.ctx = &handlerContext{Context: ctx, state: &c.state}
	}
}

func (h *handlerContext) get() *innerContext {
	m := h.inner.Load()
	if m == nil {
		ctx, cancel := context.WithCancelCause(h.Context)
		m = &innerContext{ctx, cancel}
		if !h.inner.CompareAndSwap(nil, m) {
			cancel(nil)
			m = h.inner.Load()
		}
	}
	if e := h.state.ended.Load(); e != nil {
		m.cancel(&e.Error) // end is still to come, or came before there was something to end
	}
	return m
}

// end is for a state that has ended.
func (h *handlerContext) end(e *Error) {
	if m := h.inner.Load(); m != nil {
		m.cancel(e)
	}
}

func (h *handlerContext) Done() <-chan struct{} { return h.get().Done() }
func (h *handlerContext) Value(key any) any     { return h.get().Value(key) }

func (h *handlerContext) Err() error {
	if h.inner.Load() == nil && h.state.ended.Load() == nil {
		return nil
	}
	return h.get().Err()
}

// String is how its children call it.
func (h *handlerContext) String() string { return "liveness.Handler" }
