//go:build !unix

package transport

import "errors"

const canPeek = false

func waitRead(socket) error { return errors.ErrUnsupported }
