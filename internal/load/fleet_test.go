package load

import "testing"

// What a worker notes of itself does not make untold what it was asked for.
func TestUnaskedNotesTellOfNoEnds(t *testing.T) {
	h := new(hand)
	h.note(note{Report: 1, Client: &holding{Lost: 2, Ends: []int64{1, 2}}, Server: &serving{Ends: &endings{Told: 2}}})
	h.note(note{Client: &holding{Lost: 3}, Server: &serving{Live: 7}})
	if h.client.Lost != 3 || len(h.client.Ends) != 2 {
		t.Errorf("the client's: %+v", h.client)
	}
	if h.server.Live != 7 || h.server.Ends == nil {
		t.Errorf("the server's: %+v", h.server)
	}
	h.note(note{Report: 2, Client: new(holding), Server: new(serving)})
	if h.client.Ends != nil || h.server.Ends != nil {
		t.Errorf("asked again it has none, and has %v and %v", h.client.Ends, h.server.Ends)
	}
}

// Nobody is asked for no session: it would be taken for one.
func TestNoGrantForNothing(t *testing.T) {
	c := &crew{plan: &Plan{Shape: Shape{Transport: "tcp"}}, servers: []*hand{new(hand)}, clients: []*hand{new(hand), new(hand)}}
	g := c.newGrants([][]Target{{{0, 0}}, {{0, 3}}})
	if due := g.groups[0].due; len(due) != 1 || due[0].client != c.clients[1] || g.total != 3 {
		t.Errorf("%d are asked, for %d", len(due), g.total)
	}
}
