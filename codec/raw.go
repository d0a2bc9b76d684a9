package codec

// rawCodec is no codec at all: the application's bytes are the stream's.
type rawCodec struct{}

func (rawCodec) Name() string       { return "raw" }
func (rawCodec) Server(Hello) Coder { return rawCoder{} }
func (rawCodec) Client(Hello) Coder { return rawCoder{} }

type rawCoder struct{}

func (rawCoder) Headroom() int { return 0 }

// Decode counts a read as a message: without framing nothing better is known.
func (rawCoder) Decode(_ []byte, n int) (int, Seen, error) {
	return n, Seen{Messages: min(n, 1)}, nil
}

func (rawCoder) Finish() ([]byte, error)                      { return nil, nil }
func (rawCoder) Owes() bool                                   { return false }
func (rawCoder) AppendOwed(dst []byte) []byte                 { return dst }
func (rawCoder) AppendDataHeader(dst, _ []byte) []byte        { return dst }
func (rawCoder) Retract([]byte) []byte                        { return nil }
func (rawCoder) AppendEnd(dst []byte) ([]byte, bool)          { return dst, false }
func (rawCoder) AppendPing(b []byte, _ uint32) ([]byte, bool) { return b, false }

func (rawCoder) Tells() bool { return false }

func (rawCoder) AppendBye(dst []byte, _ uint64, _ string) ([]byte, bool) { return dst, false }
