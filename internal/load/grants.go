package load

// grants says which client may open how many sessions, and when. A connection
// that its server has not accepted yet waits in the kernel, which has room for
// only so many; those beyond have to try again, a second later. So clients are
// never further ahead of a server than a window.
type grants struct {
	window int
	most   int // groups that are being filled at once
	groups []*group
	total  int // sessions that are wanted
}

// A group is the servers behind one address.
type group struct {
	servers []*hand
	total   int // sessions they are to get
	had     int // that they had accepted before
	granted int
	due     []*grant // the clients that are to open some yet
	begun   bool
	done    bool
}

// A grant is what a client is still to open to a group.
type grant struct {
	client *hand
	left   int
}

const (
	mostWindow = 1024
	quicWindow = 24 // quic-go refuses those beyond 32
)

// newGrants is for so many more sessions of each client to which servers.
func (c *crew) newGrants(want [][]Target) *grants {
	g := &grants{window: mostWindow, most: filling()}
	if n := c.limits.Backlog / 2; n > 0 {
		g.window = min(n, g.window)
	}
	if c.plan.Transport == "quic" {
		g.window = quicWindow
	}
	for i, h := range c.servers {
		if i == 0 || !c.plan.ReusePort {
			g.groups = append(g.groups, new(group))
		}
		last := g.groups[len(g.groups)-1]
		last.servers = append(last.servers, h)
		last.had += h.server.Accepted
	}
	for i, targets := range want {
		for _, t := range targets {
			if t.Sessions == 0 {
				continue
			}
			to := g.groups[t.Server]
			to.total += t.Sessions
			to.due = append(to.due, &grant{c.clients[i], t.Sessions})
			g.total += t.Sessions
		}
	}
	return g
}

// give grants what may be granted now. It reports whether all sessions have
// been accepted, but for those that have failed.
func (g *grants) give(failed int) (done bool) {
	busy := 0
	for _, to := range g.groups {
		if to.done || busy == g.most {
			continue
		}
		to.give(g.window, failed)
		if !to.done {
			busy++
		}
	}
	return busy == 0
}

// accepted is how many of the sessions that are wanted have been.
func (g *group) accepted() int {
	n := -g.had
	for _, h := range g.servers {
		n += h.server.Accepted
	}
	return n
}

func (g *group) give(window, failed int) {
	if !g.begun {
		g.begun = true
		g.tell(order{Watch: new(true)})
	}
	// Which group the failed ones were for is not known. Counted for each, they
	// make the window somewhat larger.
	ahead := g.granted - g.accepted() - failed
	for n := max(1, window/4); len(g.due) > 0 && ahead+n <= window; {
		first := g.due[0]
		k := min(n, first.left)
		first.client.send(order{Connect: &connectOrder{g.servers[0].served, k}})
		first.left -= k
		g.granted += k
		ahead += k
		g.due = g.due[1:]
		if first.left > 0 {
			g.due = append(g.due, first) // the others have their turns before
		}
	}
	if g.accepted()+failed >= g.total {
		g.done = true
		g.tell(order{Watch: new(false)})
		g.tell(order{Tidy: true})
	}
}

func (g *group) tell(o order) {
	for _, h := range g.servers {
		h.send(o)
	}
}
