package transport

// As is how to ask for what only some transports can do: Pollable, Waiter, Acceptor,
// Impatient, Answerer, KeepAliver. It returns x as a T if x is one, or if what x wraps is, as x's method
// Unwrap() any tells.
func As[T any](x any) (t T, ok bool) {
	for x != nil {
		if t, ok = x.(T); ok {
			return t, true
		}
		outer, wraps := x.(interface{ Unwrap() any })
		if !wraps {
			break
		}
		x = outer.Unwrap()
	}
	return t, false
}
