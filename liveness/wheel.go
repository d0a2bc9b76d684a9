package liveness

import "time"

// wheel holds leases by the tick at which they are to be looked at next: the
// next 255 ticks each have a slot, and after them come slots of 256 ticks each.
// Filing and removing take constant time. A lease that is due further ahead
// than the wheel's horizon is filed at the horizon: looking at a lease too
// early is harmless, since its policy then says when to look again. For the
// same reason a far slot isn't spread over the near ones when its time comes:
// its leases are looked at, and those that were renewed meanwhile go straight
// to the next far slot.
//
// A wheel is state only: its owner calls it with a lock held.
type wheel struct {
	now  int64     // the tick up to which leases have been handed out
	next int64     // no lease is handed out between now and this tick
	due  [2]*Lease // the lists of that tick, as far as not handed out yet
	near [nearSlots]*Lease
	far  [farSlots]*Lease
}

const (
	nearSlots = 256
	farSlots  = 32

	// horizon, in ticks, is the furthest ahead that a lease is filed. It leaves
	// out the last far slots so that no slot ever holds leases of two turns.
	horizon = (farSlots - 2) * nearSlots
)

// file puts l where it is handed out at tick at, or before.
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

// remove takes l out of whichever list it is in, if it is in any.
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

// pop removes and returns a lease that is due by tick now, or nil when no more
// is. It moves on tick by tick, so that a lease filed meanwhile finds its slot.
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
		// Once around is enough to have met every slot: a jump, over a suspend
		// say, costs no more than that.
		w.now = max(w.now, now-farSlots*nearSlots) + 1
		move(&w.due[0], &w.near[w.now%nearSlots])
		if w.now%nearSlots == 0 {
			move(&w.due[1], &w.far[w.now/nearSlots%farSlots])
		}
	}
}

// skip moves on to tick now, over ticks that have no lease to hand out, as far
// as that is known.
func (w *wheel) skip(now int64) { w.now = max(w.now, min(now, w.next-1)) }

// peek is the tick at which the next lease is handed out, or one beyond the
// horizon.
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

// tickOf is the first tick at or after t.
func tickOf(t, tick time.Duration) int64 {
	n := int64(t / tick)
	if t%tick > 0 {
		n++
	}
	return n
}
