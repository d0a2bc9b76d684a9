package liveness

import (
	"context"
	"sync/atomic"
)

// A handlerContext is cancelled when its connection ends, with the [*Error] as the cause.
// The cancellable context is made on first use, since most handlers only wait in Read.
type handlerContext struct {
	context.Context // for its values; never cancelled
	state           *state
	inner           atomic.Pointer[innerContext] // nil: not used yet
}

type innerContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

// initContext gives c a context if its server has a Handler.
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
		m.cancel(&e.Error) // end may have run before m was stored
	}
	return m
}

// end cancels the context after the state has ended.
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

// String names the context in the String of derived contexts.
func (h *handlerContext) String() string { return "liveness.Handler" }
