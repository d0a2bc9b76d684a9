package liveness

// Watch lets tests outside the package watch over subjects of their own.
func (e *Engine) Watch(s subject) *Lease { return e.watch(s) }

// Expiry is what they are told.
type Expiry = expiry
