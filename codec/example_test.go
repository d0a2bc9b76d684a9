package codec_test

import (
	"fmt"
	"net"

	"github.com/livenet/livenet/codec"
)

// Read behind the headroom, decode in place, and send what is pending.
func ExampleCoder() {
	near, far := net.Pipe()
	go func() {
		far.Write([]byte("hello\nPI")) // beats may be cut anywhere
		far.Write([]byte("NG\nbye\n"))
		far.Close()
	}()

	c := codec.Line.Server(codec.Hello{})
	h := c.Headroom()
	p := make([]byte, 4096)
	for {
		n, err := near.Read(p[h:])
		if err != nil {
			break
		}
		m, seen, err := c.Decode(p, n)
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%q: %d messages, %d beats, pending %q\n", p[:m], seen.Messages, seen.Beats, c.AppendPending(nil))
	}
	rest, err := c.Finish()
	fmt.Printf("%q, %v\n", rest, err)

	// Output:
	// "hello\n": 1 messages, 0 beats, pending ""
	// "bye\n": 1 messages, 1 beats, pending "PONG\n"
	// "", <nil>
}

func ExampleByName() {
	_, err := codec.ByName("morse")
	fmt.Println(err)
	// Output: codec: no codec is called "morse": there are auto, frame, line and raw
}
