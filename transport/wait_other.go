//go:build !unix

package transport

import (
	"errors"
	"net"
)

const canPeek = false

func waitRead(*net.TCPConn) error { return errors.ErrUnsupported }
