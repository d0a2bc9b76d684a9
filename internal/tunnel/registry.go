package tunnel

import (
	"fmt"
	"unicode"

	"github.com/livenet/livenet/liveness"
)

// A tunnel is a client's session, from its registration to its end. The registry's entries
// point to it, so that its end removes only its own entries, and none of a successor's.
type tunnel struct {
	session *liveness.Session
	owner   owner
	publish []string
}

// An owner identifies a client: its new session replaces its old one.
type owner struct {
	name string // authenticated, so that no client replaces another one's session; empty: no authentication
	id   string // chosen by the client; empty: it replaces no session
}

// A registry has the tunnels, and the publisher of each service. The Server's lock guards it.
type registry struct {
	sessions   map[uint64]*tunnel // by number
	owners     map[owner]*tunnel
	publishers map[string]*tunnel // by service
}

// add registers t, and returns the tunnel that it replaces, or nil. It fails if the session is
// registered already, or another owner publishes one of the services.
func (r *registry) add(t *tunnel) (old *tunnel, err *liveness.Error) {
	if r.sessions[t.session.ID()] != nil {
		return nil, &liveness.Error{Reason: liveness.ProtocolError, Text: "the session is registered already"}
	}
	if t.owner.id != "" {
		old = r.owners[t.owner]
	}
	for _, name := range t.publish {
		if other := r.publishers[name]; other != nil && other != old && other.session.End() == nil {
			return nil, &liveness.Error{Reason: liveness.Overload, Text: fmt.Sprintf("another tunnel publishes %s", name)}
		}
	}
	if old != nil {
		r.remove(old)
	}
	if r.sessions == nil {
		r.sessions, r.owners, r.publishers = make(map[uint64]*tunnel), make(map[owner]*tunnel), make(map[string]*tunnel)
	}
	r.sessions[t.session.ID()] = t
	if t.owner.id != "" {
		r.owners[t.owner] = t
	}
	for _, name := range t.publish {
		r.publishers[name] = t
	}
	return old, nil
}

// remove removes t. It reports false if t is not registered.
func (r *registry) remove(t *tunnel) bool {
	if r.sessions[t.session.ID()] != t {
		return false
	}
	delete(r.sessions, t.session.ID())
	if r.owners[t.owner] == t {
		delete(r.owners, t.owner)
	}
	for _, name := range t.publish {
		if r.publishers[name] == t {
			delete(r.publishers, name)
		}
	}
	return true
}

// A registration is the first message of a client on its control stream, in JSON.
type registration struct {
	ID      string   `json:"id,omitempty"`      // needed to publish
	Publish []string `json:"publish,omitempty"` // names of services
	Name    string   `json:"name,omitempty"`    // of its token
	Token   string   `json:"token,omitempty"`
}

const maxPublish = 64

// check returns the error with which an invalid registration ends the stream, or nil.
func (r *registration) check(declared map[string]bool) *liveness.Error {
	wrong := func(reason liveness.Reason, format string, args ...any) *liveness.Error {
		return &liveness.Error{Reason: reason, Text: fmt.Sprintf(format, args...)}
	}
	if err := CheckID(r.ID); err != nil && r.ID != "" {
		return wrong(liveness.ProtocolError, "%v", err)
	}
	switch {
	case len(r.Publish) > maxPublish:
		return wrong(liveness.TooLarge, "more than %d services", maxPublish)
	case len(r.Publish) > 0 && r.ID == "":
		return wrong(liveness.ProtocolError, "to publish needs an id")
	}
	seen := make(map[string]bool)
	for _, name := range r.Publish {
		switch {
		case CheckName(name) != nil:
			return wrong(liveness.ProtocolError, "the name of a published service is invalid")
		case seen[name]:
			return wrong(liveness.ProtocolError, "%s is published twice", name)
		case !declared[name]:
			return wrong(liveness.NoTunnel, "the server has no service %s to publish", name)
		}
		seen[name] = true
	}
	return nil
}

// CheckID returns an error unless id is valid.
func CheckID(id string) error {
	if id == "" || len(id) > MaxName {
		return fmt.Errorf("an id has 1 to %d bytes", MaxName)
	}
	for _, c := range id {
		if !unicode.IsGraphic(c) || c == unicode.ReplacementChar {
			return fmt.Errorf("an id has printable characters only")
		}
	}
	return nil
}
