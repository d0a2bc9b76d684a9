package devtls

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const resetKeyFile = "reset.key"

// ResetKeyFile returns the store's file for [ResetKey].
func (s Store) ResetKeyFile() string { return s.file(resetKeyFile) }

// ResetKey returns the stateless reset key of a QUIC listener at addr, with which it resets
// the sessions of an earlier process. It is derived from addr and a secret of 32 random bytes
// in a file, which is made if it does not exist. Each address has its own key, because two
// sockets must not share one (RFC 9000, section 21.11).
func ResetKey(file, addr string) (key [32]byte, err error) {
	if err := checkFolder(filepath.Dir(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	secret, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		secret = make([]byte, len(key))
		rand.Read(secret)
		if _, err = once(file, secret); err == nil {
			secret, err = os.ReadFile(file) // another process may have been faster
		}
	}
	switch {
	case err != nil:
		return key, fmt.Errorf("can't keep the reset key: %w", err)
	case len(secret) != len(key):
		return key, fmt.Errorf("%s is no reset key: it has %d bytes, and not %d: remove it, and a new one will be made", file, len(secret), len(key))
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(addr))
	return [32]byte(mac.Sum(nil)), nil
}
