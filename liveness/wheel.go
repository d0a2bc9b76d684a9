package liveness

import "time"

// wheel is a timing wheel: it holds leases by the tick of their next judgement. The next 255
// ticks have a slot each, and slots of 256 ticks follow. Filing and removing take constant
// time. A lease that is due beyond the wheel's horizon is filed at the horizon: judging a
// lease early is harmless, since its policy then says when to judge it again. So a far slot
// isn't spread over the near ones when it comes up: its leases are judged, and those that were
// renewed meanwhile go straight to the next far slot.
//
// The shard's lock guards a wheel.
type wheel struct {
	now  int64     // leases due up to this tick have been popped, or are in due
	next int64     // no lease is due between now and this tick
	due  [2]*Lease // the lists of the leases due at now
	near [nearSlots]*Lease
	far  [farSlots]*Lease
}

const (
	nearSlots = 256
	farSlots  = 32

	// horizon, in ticks, is the furthest ahead that a lease is filed. It leaves out the
	// last far slots, so that no slot holds leases of two revolutions.
	horizon = (farSlots - 2) * nearSlots
)

// file files l so that it is popped at tick at, or before.
func (w *wheel) file(l *Lease, at int64) {
	at = min(max(at, w.now+1), w.now+horizon)
	head := &w.near[at%nearSlots]
	if at-w.now >= nearSlots {
		head = &w.far[at/nearSlots%farSlots]
		at -= at % nearSlots
	}
	w.next = min(w.next, at)
	l.next = *head
	if l.next != nil {
		l.next.link = &l.next
	}
	*head, l.link = l, head
}

// remove removes l from its list, if it is in one.
func (w *wheel) remove(l *Lease) {
	if l.link == nil {
		return
	}
	*l.link = l.next
	if l.next != nil {
		l.next.link = l.link
	}
	l.next, l.link = nil, nil
}

// pop removes and returns a lease that is due by tick now; nil: there is none. It advances tick
// by tick, so that a lease which is filed meanwhile gets the right slot.
func (w *wheel) pop(now int64) *Lease {
	for {
		for _, l := range w.due {
			if l != nil {
				w.remove(l)
				return l
			}
		}
		if w.now >= now {
			return nil
		}
		if w.skip(now); w.now == now {
			return nil
		}
		// One revolution visits every slot, so a long jump, after a suspend say, is cut to
		// that.
		w.now = max(w.now, now-farSlots*nearSlots) + 1
		move(&w.due[0], &w.near[w.now%nearSlots])
		if w.now%nearSlots == 0 {
			move(&w.due[1], &w.far[w.now/nearSlots%farSlots])
		}
	}
}

// skip advances towards tick now over ticks that are known to have no lease.
func (w *wheel) skip(now int64) { w.now = max(w.now, min(now, w.next-1)) }

// peek returns the tick at which the next lease is due, or one beyond the horizon.
func (w *wheel) peek() int64 {
	if w.due != [2]*Lease{} {
		return w.now
	}
	for w.next = max(w.next, w.now+1); w.next-w.now <= horizon; w.next++ {
		if w.next-w.now < nearSlots && w.near[w.next%nearSlots] != nil {
			break
		}
		if w.next%nearSlots == 0 && w.far[w.next/nearSlots%farSlots] != nil {
			break
		}
	}
	return w.next
}

func move(to, from **Lease) {
	*to, *from = *from, nil
	if *to != nil {
		(*to).link = to
	}
}

// tickOf returns the first tick at or after t.
func tickOf(t, tick time.Duration) int64 {
	n := int64(t / tick)
	if t%tick > 0 {
		n++
	}
	return n
}
