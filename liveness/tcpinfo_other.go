//go:build !linux

package liveness

import "time"

// info has no answer: other systems don't tell when data last arrived. What the
// program has read must do.
func (s *tcpSocket) info() (tcpInfo, bool) { return tcpInfo{}, false }

func (s *tcpSocket) sendQueue() (acked, queued int64, ok bool) { return 0, 0, false }

func (s *tcpSocket) unread() (some, full bool) { return false, false }

func (s *tcpSocket) limitBackoff(time.Duration) {}

func (s *tcpSocket) queued() int { return 0 }
