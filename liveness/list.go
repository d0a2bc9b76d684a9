package liveness

// A list is an intrusive list of a server's sessions.
type list struct {
	first *state
	n     int
}

func (l *list) add(s *state) {
	if s.next = l.first; s.next != nil {
		s.next.prev = s
	}
	l.first = s
	l.n++
}

func (l *list) remove(s *state) {
	if s.next != nil {
		s.next.prev = s.prev
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	s.next, s.prev = nil, nil
	l.n--
}

func (l *list) all() []*state {
	all := make([]*state, 0, l.n)
	for s := l.first; s != nil; s = s.next {
		all = append(all, s)
	}
	return all
}
