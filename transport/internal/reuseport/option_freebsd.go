package reuseport

import "golang.org/x/sys/unix"

// option spreads connections over the sockets. On FreeBSD, SO_REUSEPORT would give them
// all to one.
const option = unix.SO_REUSEPORT_LB
