package transporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/livenet/livenet/transport"
)

// testConn runs nettest.TestConn on the streams of both ends.
func testConn(t *testing.T, n *network) {
	for _, end := range []string{"Opener", "Acceptor"} {
		t.Run(end, func(t *testing.T) {
			n := n.parallel(t)
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				p, err := n.connect()
				if err != nil {
					return nil, nil, nil, err
				}
				if end == "Opener" {
					return p.opened, p.accepted, p.close, nil
				}
				return p.accepted, p.opened, p.close, nil
			})
		})
	}
}

// testEitherEndOpens opens a stream at the server, and accepts it at the client.
func testEitherEndOpens(t *testing.T, n *network) {
	ctx, cancel := context.WithTimeout(t.Context(), maxWait)
	defer cancel()
	var client transport.Session
	var accepted transport.Stream
	dialled := async(func() (err error) {
		if client, err = n.client.Dial(ctx, n.addr()); err == nil {
			accepted, err = accept(ctx, client)
		}
		return err
	})
	server, err := n.listener.Accept(ctx)
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	defer server.Close(0, "")
	opened, err := open(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	defer client.Close(0, "")
	echo(t, opened, accepted)
}

// testHalfClose sends a body and CloseWrite in one direction, and then in the other. Either
// end begins.
func testHalfClose(t *testing.T, n *network) {
	for _, end := range []string{"Opener", "Acceptor"} {
		t.Run(end, func(t *testing.T) {
			p := n.pair(t)
			here, there := p.opened, p.accepted
			if end == "Acceptor" {
				here, there = there, here
			}
			body := randomBytes(256 << 10)
			for _, way := range [][2]transport.Stream{{here, there}, {there, here}} {
				sent := async(func() error {
					if _, err := io.Copy(way[0], bytes.NewReader(body)); err != nil {
						return err
					}
					return way[0].CloseWrite()
				})
				got, err := io.ReadAll(way[1])
				if err != nil {
					t.Fatalf("reading to EOF: %v", err)
				}
				if err := await(t, "Copy and CloseWrite", sent); err != nil {
					t.Fatalf("Copy and CloseWrite: %v", err)
				}
				if !bytes.Equal(got, body) {
					t.Fatalf("%d bytes arrived, not the %d that were sent", len(got), len(body))
				}
				if _, err := way[0].Write([]byte{0}); err == nil {
					t.Error("Write after CloseWrite succeeded")
				}
			}
		})
	}
}

// testEOF ends one direction, or both, while the peer reads. A write deadline that has passed
// must not matter.
func testEOF(t *testing.T, n *network) {
	for _, by := range []struct {
		name string
		end  func(transport.Stream) error
	}{
		{"CloseWrite", transport.Stream.CloseWrite},
		{"Close", transport.Stream.Close},
	} {
		t.Run(by.name, func(t *testing.T) {
			p := n.pair(t)
			reading := read(t, p.accepted)
			p.opened.SetDeadline(time.Now().Add(-time.Hour))
			if err := by.end(p.opened); err != nil {
				t.Errorf("%s: %v", by.name, err)
			}
			if err := await(t, "Read", reading); err != io.EOF {
				t.Errorf("Read: %v, want EOF", err)
			}
		})
	}
}

// testCloseDelivers closes a stream with unsent output and unread input. The output must
// arrive.
func testCloseDelivers(t *testing.T, n *network) {
	p := n.pair(t)
	if _, err := io.WriteString(p.accepted, "never read"); err != nil {
		t.Fatal(err)
	}
	body := randomBytes(1 << 20)
	sent := async(func() error {
		if _, err := p.opened.Write(body); err != nil {
			return err
		}
		return p.opened.Close()
	})
	got, err := io.ReadAll(p.accepted)
	if err != nil {
		t.Errorf("reading to EOF: %v", err)
	}
	if !bytes.Equal(got, body) {
		t.Errorf("%d bytes arrived, not the %d that were sent", len(got), len(body))
	}
	if err := await(t, "Write and Close", sent); err != nil {
		t.Errorf("Write and Close: %v", err)
	}
}

// testSingleStream calls OpenStream and AcceptStream after the session's only stream is in use.
func testSingleStream(t *testing.T, n *network) {
	p := n.pair(t)
	for name, s := range map[string]transport.Session{"Client": p.client, "Server": p.server} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.OpenStream(t.Context()); !errors.Is(err, transport.ErrSingleStream) {
				t.Errorf("second OpenStream: %v, want ErrSingleStream", err)
			}
			accepting := async(func() error {
				_, err := s.AcceptStream(context.Background())
				return err
			})
			s.Close(0, "")
			wantLocal(t, "AcceptStream", await(t, "AcceptStream", accepting))
		})
	}
}

// testManyStreams sends 1 MiB on each of 200 streams, opened by both ends. The peer sends the
// checksum back.
func testManyStreams(t *testing.T, n *network) {
	const streams, size = 200, 1 << 20
	p := n.pair(t)
	table := crc32.MakeTable(crc32.Castagnoli)
	block := randomBytes(2 * size)

	failed := make(chan error, 2*streams)
	serve := func(s transport.Session) error {
		st, err := s.AcceptStream(t.Context())
		if err != nil {
			return err
		}
		defer st.Close()
		sum := crc32.New(table)
		if _, err := io.Copy(sum, st); err != nil {
			return err
		}
		if _, err := st.Write(sum.Sum(nil)); err != nil {
			return err
		}
		return st.CloseWrite()
	}
	send := func(s transport.Session, body []byte) error {
		st, err := s.OpenStream(t.Context())
		if err != nil {
			return err
		}
		defer st.Close()
		if _, err := st.Write(body); err != nil {
			return err
		}
		if err := st.CloseWrite(); err != nil {
			return err
		}
		got, err := io.ReadAll(st)
		if err != nil {
			return err
		}
		if len(got) != 4 || binary.BigEndian.Uint32(got) != crc32.Checksum(body, table) {
			return errors.New("the checksum differs")
		}
		return nil
	}
	parallel(2*streams, func(i int) {
		from, to := p.client, p.server
		if i/2%2 == 1 {
			from, to = to, from
		}
		if i%2 == 0 {
			failed <- serve(to)
		} else {
			failed <- send(from, block[i:][:size])
		}
	})
	close(failed)
	for err := range failed {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// testReset resets a stream at one end while the other reads and writes.
func testReset(t *testing.T, n *network) {
	const code = 42
	for _, end := range []string{"Opener", "Acceptor"} {
		t.Run(end, func(t *testing.T) {
			p := n.pair(t)
			here, there := p.opened, p.accepted
			if end == "Acceptor" {
				here, there = there, here
			}
			reading := read(t, there)
			here.Reset(code)

			wantLocal(t, "Read here", readOne(here))
			_, err := here.Write([]byte{0})
			wantLocal(t, "Write here", err)

			err = await(t, "Read there", reading)
			switch {
			case err == nil:
				t.Error("Read there succeeded")
			case n.Resets:
				wantReset(t, n, "Read there", err, code)
			}
			if n.Resets {
				wantReset(t, n, "Write there", await(t, "Write there", stall(there)), code)
			}
			there.Close()

			if !n.Multiplexes {
				if ce := ended(t, p.client); n.Resets && !ce.Reset {
					t.Errorf("client's session: %v, want a reset", ce)
				}
				if ce := ended(t, p.server); n.Resets && !ce.Reset {
					t.Errorf("server's session: %v, want a reset", ce)
				}
				return
			}
			a, b, err := between(p.client, p.server)
			if err != nil {
				t.Fatalf("the session does not work after the reset: %v", err)
			}
			echo(t, a, b)
		})
	}
}

func wantReset(t *testing.T, n *network, what string, err error, code uint64) {
	t.Helper()
	ce := closeError(t, err)
	if ce.Origin != transport.Peer || !ce.Reset || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: %v, want a reset by the peer", what, err)
	}
	if n.StreamCodes && (!ce.HasCode || ce.Code != code) {
		t.Errorf("%s: %v, want code %d", what, err, code)
	}
}

func readOne(r io.Reader) error {
	_, err := r.Read(make([]byte, 1))
	return err
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}
