//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package reuseport

import (
	"errors"
	"syscall"
)

func set(syscall.RawConn) error { return errors.ErrUnsupported }
