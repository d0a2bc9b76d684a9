package liveness_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
	"github.com/livenet/livenet/transport"
)

// OnOpen comes before the first call of Data, OnClose once after the last, whichever end
// ends the connection, and a value stays with the connection between them.
func TestOnOpenAndOnClose(t *testing.T) {
	t.Parallel()
	everyNetwork(t, func(t *testing.T, n network) {
		for _, test := range []struct {
			name   string
			policy Policy
			opened error
			data   func(c *Conn, p []byte) error
			want   Reason
		}{
			{"the peer ends", Sliding(time.Minute), nil, nil, Done},
			{"a deadline ends", Fixed(200 * ms), nil, nil, FixedDeadline},
			{"OnOpen refuses", Sliding(time.Minute), errors.New("no"), nil, Internal},
			{"Data panics", Sliding(time.Minute), nil, func(*Conn, []byte) error { panic("on purpose") }, Internal},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				if test.opened != nil && strings.Contains(t.Name(), "tls") {
					t.Skip("it refuses before the handshake, which dialling waits for")
				}
				var calls atomic.Int32
				closed := make(chan *Error, 2)
				w := serve(t, &Server{
					Config: Config{Policy: test.policy}, Streams: test.policy, Codec: codec.Raw,
					OnOpen: func(c *Conn) error { c.SetValue("mine"); return test.opened },
					Data: func(c *Conn, p []byte) error {
						if c.Value() != "mine" {
							t.Errorf("Data before OnOpen: the value is %v", c.Value())
						}
						calls.Add(1)
						if test.data != nil {
							return test.data(c, p)
						}
						return nil
					},
					OnClose: func(c *Conn) {
						if c.Value() != "mine" {
							t.Errorf("OnClose: the value is %v", c.Value())
						}
						closed <- c.End()
					},
				}, n)
				sess, st := w.dial()
				defer sess.Close(0, "")
				st.Write([]byte("x"))
				if test.want == Done {
					st.CloseWrite()
				}
				if e := <-closed; e == nil || e.Reason != test.want && !(test.want == Done && e.Reason == PeerClosed) {
					t.Errorf("ended %v", e)
				}
				w.end()
				if len(closed) > 0 {
					t.Error("OnClose was called again")
				}
				if test.opened != nil && calls.Load() > 0 {
					t.Error("Data was called though OnOpen refused")
				}
			})
		}
	})
}

func TestAppReasons(t *testing.T) {
	for n := range 128 {
		r := AppReason(n)
		back, ok := ReasonOf(r.Code())
		var read Reason
		text, _ := r.MarshalText()
		if err := read.UnmarshalText(text); !ok || back != r || err != nil || read != r {
			t.Fatalf("%v has code %d, which is %v, %v; as text %v, %v", r, r.Code(), back, ok, read, err)
		}
	}
	var r Reason
	for _, text := range []string{"app-128", "app--1", "app-", "app-x"} {
		if r.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is %v", text, r)
		}
	}
	bothKinds(t, func(t *testing.T, tr transport.Transport) {
		w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: codec.Frame}, tr)
		c := w.client(Client{})
		c.Write([]byte("x"))
		c.CloseWith(AppReason(7), "the lease of the room is over")
		w.awaitClosed(KindSession)
		if e := w.one(KindSession).End; e.Reason != AppReason(7) || e.Initiator != Peer {
			t.Errorf("the server's end: %v", e)
		}
		w.end()
	})
}
