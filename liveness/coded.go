package liveness

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livenet/livenet/codec"
)

// coded is what a Conn holds beyond its stream: the state of its codec, or of
// its end if this end dialled it.
type coded struct {
	coder   codec.Coder                 // nil: bytes as they are
	hello   atomic.Pointer[codec.Hello] // the peer's
	dialler *dialler                    // nil: the other end dialled

	rmu     sync.Mutex    // held while reading through the coder
	rest    *leftover     // of reads too small for the coder; nil: nothing
	allowed allowance     // the heartbeats that the peer may send
	quiet   chan struct{} // closed when readOn has ended; nil: it never began
	over    atomic.Pointer[readEnd]

	wmu      sync.Mutex  // held while writing through the coder
	backlog  *[]byte     // the rest of a frame that a deadline cut short; nil: nothing
	finished bool        // this direction's data
	said     atomic.Bool // the farewell
	leaving  atomic.Bool // the farewell is to come
	clogged  atomic.Bool // the peer took nothing when last tried
	due      atomic.Bool // a Ping: the lock was taken when it was to be sent
	asked    atomic.Pointer[question]

	dmu      sync.Mutex // guards the rest
	torn     bool       // a write of the application's was refused, or cut off, for the end
	bounded  bool       // a control message has set a deadline of its own for now
	bounds   uint32     // that were set
	deadline *time.Time // for writing, as the application set it; nil: none
}

// A dialler is what a Conn holds beyond that if this end dialled it.
type dialler struct {
	beat      *beater // nil: it does not beat
	implied   bool    // the policy is what follows from the beats, which are to be answered
	greeting  bool    // its life has not begun; set by Dial only
	lingering bool    // the end is reading: deadlines for that are its own; guarded by dmu

	// muted is until when, on the engine's clock, there was no place for a beat in what
	// this end says: within a line, or after the last one. 0: there always was.
	muted atomic.Int64
}

// stillMuted is in the place of when a dialler will be no more.
const stillMuted = math.MaxInt64

// A leftover is what was read into a buffer of this end's own.
type leftover struct {
	pending []byte
	buf     [smallest]byte
}

// readEnd is the error that ends all further reading.
type readEnd struct{ err error }

// question is the latest Ping that was sent.
type question struct {
	seq uint32
	at  time.Time
}

// greeting says that a connection is being dialled.
func (c *Conn) greeting() bool { return c.dialler != nil && c.dialler.greeting }

// sentBeat tells the beater that data, or a beat, has gone out.
func (c *Conn) sentBeat(beat bool) {
	if c.dialler != nil {
		c.dialler.beat.sent(beat)
	}
}

// hasCodec says that what the peer sends is more than the application's bytes.
func (c *Conn) hasCodec() bool { return c.coded != nil && c.coder != nil }
