package tunnel

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
)

// A Token authenticates a client.
type Token struct{ Name, Secret string }

// A hashed is a token in a form of fixed length, which is compared in constant time.
type hashed struct{ name, secret [sha256.Size]byte }

func (t Token) hash() hashed {
	return hashed{sha256.Sum256([]byte(t.Name)), sha256.Sum256([]byte(t.Secret))}
}

// ReadTokens reads a file with one NAME:TOKEN a line; lines that begin with # are comments. A
// name may have several tokens. It fails if the file's mode lets others than its owner read it.
func ReadTokens(file string) ([]Token, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s: other users may read it: chmod 600", file)
	case info.Size() > maxTokens:
		return nil, fmt.Errorf("%s: it has more than %d bytes", file, maxTokens)
	}
	b := make([]byte, info.Size())
	n, err := f.ReadAt(b, 0)
	if n < len(b) && err != nil {
		return nil, err
	}
	var list []Token
	for i, text := range strings.Split(string(b), "\n") {
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		name, secret, ok := strings.Cut(text, ":")
		if !ok || CheckName(name) != nil || secret == "" || len(secret) > MaxName {
			return nil, fmt.Errorf("%s: line %d: want NAME:TOKEN, each of 1 to %d bytes", file, i+1, MaxName)
		}
		list = append(list, Token{name, secret})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: there is no token in it", file)
	}
	return list, nil
}

const maxTokens = 1 << 20

// Tokens are the tokens in a file, which is read again when it has changed. While it can't be
// read the previous tokens stay valid.
type Tokens struct {
	// Warn, if set, is called with the error if the file can't be read.
	Warn func(error)

	file string

	mu   sync.Mutex
	seen os.FileInfo
	list []hashed
}

// NewTokens reads a file for the first time.
func NewTokens(file string) (*Tokens, error) {
	t := &Tokens{file: file}
	return t, t.read()
}

func (t *Tokens) read() error {
	seen, err := os.Stat(t.file)
	if err != nil {
		return err
	}
	if old := t.seen; old != nil && os.SameFile(old, seen) && old.ModTime().Equal(seen.ModTime()) && old.Size() == seen.Size() && old.Mode() == seen.Mode() {
		return nil
	}
	t.seen = seen
	tokens, err := ReadTokens(t.file)
	if err != nil {
		return err
	}
	t.list = t.list[:0]
	for _, token := range tokens {
		t.list = append(t.list, token.hash())
	}
	return nil
}

// has reports whether a token is among them, in time that depends only on their number.
func (t *Tokens) has(token Token) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.read(); err != nil && t.Warn != nil {
		t.Warn(err)
	}
	found, shown := 0, token.hash()
	for _, known := range t.list {
		found |= subtle.ConstantTimeCompare(known.name[:], shown.name[:]) & subtle.ConstantTimeCompare(known.secret[:], shown.secret[:])
	}
	return found == 1
}

// ReadToken reads a client's file, which holds one token.
func ReadToken(file string) (Token, error) {
	list, err := ReadTokens(file)
	if err == nil && len(list) > 1 {
		err = errors.New(file + ": it holds more than one token")
	}
	if err != nil {
		return Token{}, err
	}
	return list[0], nil
}
