package liveness

// Watch grants leases on subjects of tests outside the package.
func (e *Engine) Watch(s subject) *Lease { return e.watch(s) }

// Expiry is the argument of their Expire.
type Expiry = expiry
