//go:build !linux

package liveness

import "time"

// info is never ok: other systems don't say when data last arrived.
func (s *tcpSocket) info() (tcpInfo, bool) { return tcpInfo{}, false }

func (s *tcpSocket) sendQueue() (acked, queued int64, ok bool) { return 0, 0, false }

func (s *tcpSocket) unread() (some, full bool) { return false, false }

func (s *tcpSocket) limitBackoff(time.Duration) {}

func (s *tcpSocket) queued() int { return 0 }
