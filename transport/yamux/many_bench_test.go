package yamux

import (
	"fmt"
	"io"
	"sync"
	"testing"
)

// BenchmarkManyStreams sends on many streams at once, which are read or echoed, with the
// default budget and with one that is never used up.
func BenchmarkManyStreams(b *testing.B) {
	for _, what := range []string{"upload", "echo"} {
		for _, streams := range []int{16, 100, 1000} {
			for _, budget := range []int{4 << 20, 1 << 30} {
				b.Run(fmt.Sprintf("%s/%d/budget=%dMiB", what, streams, budget>>20), func(b *testing.B) {
					client, server := benchPairs["adapter"](b)
					c, s := client.(*stream).session, server.(*stream).session
					c.setReceiveBudget(budget)
					s.setReceiveBudget(budget)
					const size = 16 << 20
					b.SetBytes(size)
					for b.Loop() {
						var wg sync.WaitGroup
						for range streams {
							wg.Go(func() {
								st, err := s.AcceptStream(b.Context())
								if err != nil {
									b.Error(err)
									return
								}
								to := io.Writer(st)
								if what == "upload" {
									to = io.Discard
								}
								if _, err := io.Copy(to, st); err != nil {
									b.Error(err)
								}
								st.Close()
							})
							wg.Go(func() {
								st, err := c.OpenStream(b.Context())
								if err != nil {
									b.Error(err)
									return
								}
								wg.Go(func() {
									st.Write(make([]byte, size/streams))
									st.CloseWrite()
								})
								io.Copy(io.Discard, st)
								st.Close()
							})
						}
						wg.Wait()
					}
				})
			}
		}
	}
}
