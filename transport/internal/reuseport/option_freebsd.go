package reuseport

import "golang.org/x/sys/unix"

// option spreads connections; with SO_REUSEPORT, as it is called elsewhere, one
// of the sockets would get them all.
const option = unix.SO_REUSEPORT_LB
