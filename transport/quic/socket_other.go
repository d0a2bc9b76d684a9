//go:build !windows

package quic

import "syscall"

const tooLong = syscall.EMSGSIZE
