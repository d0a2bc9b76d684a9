package codec

import "time"

// rawCodec passes all bytes unchanged.
type rawCodec struct{}

func (rawCodec) Name() string       { return "raw" }
func (rawCodec) Server(Hello) Coder { return rawCoder{} }
func (rawCodec) Client(Hello) Coder { return rawCoder{} }

type rawCoder struct{}

func (rawCoder) Headroom() int { return 0 }

// Decode counts each read as a message: without framing there is nothing else to count.
func (rawCoder) Decode(_ []byte, n int) (int, Seen, error) {
	return n, Seen{Messages: min(n, 1)}, nil
}

func (rawCoder) Finish() ([]byte, error)                      { return nil, nil }
func (rawCoder) Pending() bool                                { return false }
func (rawCoder) AppendPending(dst []byte) []byte              { return dst }
func (rawCoder) AppendDataHeader(dst, _ []byte) []byte        { return dst }
func (rawCoder) Begin()                                       {}
func (rawCoder) Sent([]byte)                                  {}
func (rawCoder) AppendEnd(dst []byte) ([]byte, bool)          { return dst, false }
func (rawCoder) AppendPing(b []byte, _ uint32) ([]byte, bool) { return b, false }

func (rawCoder) AppendGoAway(b []byte, _ time.Duration) ([]byte, bool) { return b, false }

func (rawCoder) CanClose() bool { return false }

func (rawCoder) AppendClose(dst []byte, _ uint64, _ string) ([]byte, bool) { return dst, false }
