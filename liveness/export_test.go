package liveness

import "time"

// Watch grants leases on subjects of tests outside the package.
func (e *Engine) Watch(s subject) *Lease { return e.watch(s) }

// Expiry is the argument of their Expire.
type Expiry = expiry

func Within(d time.Duration) Policy { return within(d) }

func ReasonOf(code uint64) (Reason, bool) { return reasonOf(code) }
