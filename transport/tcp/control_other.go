//go:build !linux

package tcp

import "syscall"

const hasUserTimeout = false

func (t Transport) control(_, _ string, _ syscall.RawConn) error { return nil }
