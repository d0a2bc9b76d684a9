// Package reuseport lets sockets of several processes be bound to one port.
package reuseport

import "syscall"

// Control is for the Control field of a [net.ListenConfig]. It returns
// [errors.ErrUnsupported] on systems without the option.
func Control(_, _ string, c syscall.RawConn) error { return set(c) }
