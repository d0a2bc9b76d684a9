//go:build !linux

package peertest

import (
	"net"
	"testing"
)

// Vanish is for Linux.
func Vanish(t *testing.T, _ net.Conn) { t.Skip("a socket can be made deaf on Linux only") }
