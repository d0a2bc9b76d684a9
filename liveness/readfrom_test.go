package liveness_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	. "github.com/livenet/livenet/liveness"
)

// A file arrives whole by io.Copy, on every transport and codec, and its bytes count.
func TestReadFromAFile(t *testing.T) {
	t.Parallel()
	want := bytes.Repeat([]byte("0123456789abcde\n"), 200_000) // 3.2 MB
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	everyNetwork(t, func(t *testing.T, n network) {
		for _, code := range []codec.Codec{codec.Raw, codec.Frame} {
			t.Run(code.Name(), func(t *testing.T) {
				w := serve(t, &Server{Config: Config{Policy: Sliding(time.Minute)}, Codec: code}, n)
				c := w.client(Client{Codec: code})
				file, err := os.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				echoed := make(chan []byte)
				go func() {
					b, _ := io.ReadAll(io.LimitReader(c, int64(len(want))))
					echoed <- b
				}()
				if k, err := io.Copy(c, struct{ io.Reader }{file}); k != int64(len(want)) || err != nil {
					t.Errorf("sent %d bytes, %v", k, err)
				}
				file.Seek(0, io.SeekStart)
				if got := <-echoed; !bytes.Equal(got, want) {
					t.Errorf("%d bytes came back", len(got))
				}
				if k, err := c.ReadFrom(io.LimitReader(file, 5)); k != 5 || err != nil {
					t.Errorf("sent %d bytes, %v", k, err)
				}
				if out := c.Session().Stats().BytesOut; out < int64(len(want))+5 {
					t.Errorf("%d bytes are counted", out)
				}
				c.CloseWith(Kicked, "")
				if _, err := c.ReadFrom(file); !errors.Is(err, Kicked) {
					t.Errorf("after the end: %v", err)
				}
				w.end()
			})
		}
	})
}
