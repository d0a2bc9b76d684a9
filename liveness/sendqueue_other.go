//go:build !linux

package liveness

const canQuerySendQueue = false

// unacknowledged returns 1, since the send queue can't be queried.
func unacknowledged(tcpConn) int { return 1 }
