//go:build darwin || dragonfly || linux || netbsd || openbsd

package reuseport

import "golang.org/x/sys/unix"

const option = unix.SO_REUSEPORT
