package gateway

import (
	"errors"
	"net"
	"strconv"
	"strings"
)

// An Address is where a service listens.
type Address struct {
	Network string // "tcp" or "unix"
	Addr    string // host:port, or a path
}

var errForm = errors.New("want HOST:PORT or unix:PATH")

const unixPrefix = "unix:"

// String is as ParseAddress reads it.
func (a Address) String() string {
	if a.Network == "unix" {
		return unixPrefix + a.Addr
	}
	return a.Addr
}

// ParseAddress reads HOST:PORT or unix:PATH.
func ParseAddress(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, unixPrefix); ok {
		if path == "" {
			return Address{}, errForm
		}
		return Address{"unix", path}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || strings.ContainsAny(host, " /") {
		return Address{}, errForm
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Address{}, errors.New("the port must be a number from 1 to 65535")
	}
	return Address{"tcp", text}, nil
}
