package tunnel

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/livenet/livenet/codec"
	"github.com/livenet/livenet/internal/gateway"
	"github.com/livenet/livenet/liveness"
)

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReadTokens(t *testing.T) {
	for text, want := range map[string]string{
		"a:1":                           "",
		"# who\n\na:1\r\n a:2 \nb:x:y":  "",
		"":                              "there is no token in it",
		"a":                             "line 1: want NAME:TOKEN, each of 1 to 256 bytes",
		"a:1\nb:":                       "line 2: want NAME:TOKEN, each of 1 to 256 bytes",
		":1":                            "line 1: want NAME:TOKEN, each of 1 to 256 bytes",
		"a:" + strings.Repeat("x", 257): "line 1: want NAME:TOKEN, each of 1 to 256 bytes",
	} {
		file := tokenFile(t, text)
		_, err := ReadTokens(file)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != file+": "+want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	file := tokenFile(t, "a:1\nb:2")
	if _, err := ReadToken(file); err == nil || !strings.HasSuffix(err.Error(), "it holds more than one token") {
		t.Error(err)
	}
	if runtime.GOOS == "windows" {
		return // whose permissions differ
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		os.Chmod(file, mode)
		if _, err := ReadTokens(file); err == nil || !strings.HasSuffix(err.Error(), "other users may read it: chmod 600") {
			t.Errorf("%v: %v", mode, err)
		}
	}
}

// The file is read again when it has changed; while it is invalid the previous tokens stay valid.
func TestTokensReload(t *testing.T) {
	file := tokenFile(t, "a:1\na:2\nb:3")
	tokens, err := NewTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	var warned []string
	tokens.Warn = func(err error) { warned = append(warned, err.Error()) }
	check := func(known ...Token) {
		t.Helper()
		for _, token := range []Token{{"a", "1"}, {"a", "2"}, {"b", "3"}, {"b", "1"}, {"a", ""}, {"", ""}, {"c", "4"}} {
			want := false
			for _, k := range known {
				want = want || k == token
			}
			if tokens.has(token) != want {
				t.Errorf("%v: %v", token, !want)
			}
		}
	}
	check(Token{"a", "1"}, Token{"a", "2"}, Token{"b", "3"})
	change := func(text string) {
		os.WriteFile(file, []byte(text), 0o600)
		os.Chtimes(file, time.Time{}, time.Now().Add(time.Duration(len(text))*time.Minute)) // the clock of a file system may be coarse
	}
	change("c:4")
	check(Token{"c", "4"})
	change("nonsense")
	check(Token{"c", "4"})
	if len(warned) != 1 {
		t.Errorf("it warned %q", warned)
	}
	change("b:1")
	check(Token{"b", "1"})
}

// A session without a valid token ends with unauthorized.
func TestTokens(t *testing.T) {
	t.Parallel()
	tokens, err := NewTokens(tokenFile(t, "alice:secret\nbob:other"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range publishers {
		service := echo(t, "")
		s := serve(t, name, "", &Server{Forward: map[string]*gateway.Gateway{"": service}, Services: map[string]bool{"red": true}, Tokens: tokens, Opening: soon})
		r := run(t, name, s.addr, &Client{Token: Token{"alice", "secret"}, ID: "x", Publish: map[string]*gateway.Gateway{"red": service}})
		if got, err := ask(t, r.listen(t, ""), "hello"); got != "hello" || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		for _, token := range []Token{{}, {"alice", "other"}, {"alice", ""}, {"carol", "secret"}} {
			if err := receive(t, run(t, name, s.addr, &Client{Token: token}).ended); !errors.Is(err, liveness.Unauthorized) {
				t.Errorf("%s: %v: %v", name, token, err)
			}
			s.closed(t, liveness.KindSession, liveness.Unauthorized)
		}
		// No client replaces the session of another name, whatever its id.
		thief := run(t, name, s.addr, &Client{Token: Token{"bob", "other"}, ID: "x", Publish: map[string]*gateway.Gateway{"red": service}})
		if e := receive(t, thief.retrying); !errors.Is(e.Err, liveness.Overload) {
			t.Errorf("%s: %v", name, e.Err)
		}
		for _, words := range []string{"hello", "\xfeLT\x01\x00", "\xfeLT\x01\x03red", "\xfeLT\x02"} {
			c, err := (&liveness.Client{Codec: codec.Raw}).Dial(t.Context(), network()[name].client, s.addr)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(soon))
			io.WriteString(c, words)
			if _, err := io.ReadAll(c); !errors.Is(err, liveness.Unauthorized) {
				t.Errorf("%s: %q: %v", name, words, err)
			}
			c.Close()
		}
		select {
		case err := <-r.ended:
			t.Errorf("%s: who was let in has ended: %v", name, err)
		default:
		}
	}
}
