package liveness

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/livenet/livenet/transport"
)

// A dated session's last packet arrived at a moment that is known.
type dated struct {
	transport.Session
	at time.Time
}

func (d dated) LastArrival() time.Time { return d.at }
func (d dated) Multiplexed() bool      { return true }

// A transport that knows when its packets arrived is a witness of that, for
// a session that was accepted and for its streams; but not of what it has not read.
// One that was dialled asks nobody: what its peer sends are answers, which a stall
// of its own keeps it from asking for.
func TestRule10ATransportIsAWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unknown := dated{}
		known := dated{at: time.Now()}
		time.Sleep(3 * sec)
		for _, sess := range []dated{known, unknown} {
			s := &Server{Config: Config{Policy: Sliding(sec), Engine: new(Engine)}}
			x := newSession(t.Context(), s, sess)
			for name, l := range map[string]*life{"a session": &x.life, "a stream": &x.open(nil).life} {
				ago, ok := l.Arrived()
				if want := sess == known; ok != want || ok && ago != 3*sec {
					t.Errorf("%s: arrived %v ago, %v; want 3 s, %v", name, ago, ok, want)
				}
				if _, sure, ok := l.Heard(); sure || ok {
					t.Errorf("%s was heard, by a transport", name)
				}
			}
			if _, ok := (&Client{Engine: new(Engine)}).newConn(sess, nil).life.Arrived(); ok {
				t.Error("a dialled session's peer is dated")
			}
			if x.life.vouch(); sess == known {
				if _, ok := x.life.Arrived(); ok {
					t.Error("the application's word is dated by the transport")
				}
			}
		}
	})
}
