package transport

// As finds an optional interface that only some transports implement: [Pollable],
// [Waiter], [Plain], [Acceptor], [IdleTimeouter], [Answerer], [KeepAliver]. It returns x as
// a T if x implements T, or the first value that does in the chain of x's Unwrap() any.
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
