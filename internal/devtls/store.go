// Package devtls keeps a self-signed certificate for development. Servers use it if they have
// no other, and clients on the same machine trust it.
//
// The certificate is for localhost, 127.0.0.1 and ::1, and is valid for two weeks. A server
// renews it, at its start or while it runs, when less than one week is left. The key, and so
// its pin, stays the same. Several processes may make or renew it at once: files are replaced
// atomically, a second process uses the first one's key, and clients trust the key, whatever
// the certificate.
package devtls

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"
)

// A Store is a folder with a key and a certificate.
type Store struct{ Dir string }

// Names of the files in the folder.
const (
	keyFile  = "key.pem"  // key and certificate in one file, so that they always match
	certFile = "cert.pem" // the certificate alone, for other programs
)

func (s Store) file(name string) string { return filepath.Join(s.Dir, name) }

// An Identity is a server's certificate and key.
type Identity struct {
	Certificate tls.Certificate
	Made        bool // the key is new
}

// Pin returns the pin of the key, which renewals don't change.
func (i *Identity) Pin() Pin { return PinOf(i.Certificate.Leaf) }

// Identity returns the identity in the folder. It makes one if there is none, and renews the
// certificate if that is due.
func (s Store) Identity() (*Identity, error) {
	pair, err := s.load()
	switch {
	case err == nil && usable(pair.Leaf):
		return &Identity{pair, false}, nil
	case err == nil:
		pair, _, err = s.keep(pair.PrivateKey.(crypto.Signer), replace)
		return &Identity{pair, false}, err
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	pair, made, err := s.keep(key, once)
	if err == nil && !made { // another process was faster
		pair, err = s.load()
	}
	return &Identity{pair, made}, err
}

// Renewing returns a function for GetCertificate of a server's config. It renews the
// certificate when that is due. If that fails, it uses the old one and tries again a minute
// later.
func (s Store) Renewing(i *Identity) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	var mu sync.Mutex
	current, retry := i, time.Time{}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); !usable(current.Certificate.Leaf) && !now.Before(retry) {
			if renewed, err := s.Identity(); err == nil {
				current = renewed
			}
			retry = now.Add(time.Minute)
		}
		return &current.Certificate, nil
	}
}

// ClientConfig returns a config for dialling host, a name of this machine. It trusts the
// store's key in any certificate that has not expired, whatever its names. It also trusts
// certificates for host of the system's authorities.
func (s Store) ClientConfig(host string) (*tls.Config, error) {
	own, err := s.load()
	if errors.Is(err, fs.ErrNotExist) {
		return new(tls.Config), nil
	}
	if err != nil {
		return nil, err
	}
	return verifying(func(shown []*x509.Certificate) error {
		if now := time.Now(); PinOf(shown[0]) == PinOf(own.Leaf) && now.After(shown[0].NotBefore) && now.Before(shown[0].NotAfter) {
			return nil
		}
		between := x509.NewCertPool()
		for _, c := range shown[1:] {
			between.AddCert(c)
		}
		if _, err := shown[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: between}); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: shown, Err: err}
		}
		return nil
	}), nil
}

// keep makes a certificate for the key and writes both to the folder with place.
func (s Store) keep(key crypto.Signer, place func(name string, content []byte) (bool, error)) (pair tls.Certificate, made bool, err error) {
	pair, err = selfSign(template(time.Now()), key)
	if err != nil {
		return pair, false, err
	}
	certText, keyText, err := encode(pair)
	if err != nil {
		return pair, false, err
	}
	if made, err = place(s.file(keyFile), append(keyText, certText...)); err == nil && made {
		_, err = replace(s.file(certFile), certText)
	}
	if err != nil {
		err = fmt.Errorf("can't keep the development certificate: %w", err)
	}
	return pair, made, err
}

// load returns the key and the certificate in the folder.
func (s Store) load() (tls.Certificate, error) {
	if err := checkFolder(s.Dir); err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.LoadX509KeyPair(s.file(keyFile), s.file(keyFile))
	if _, unreadable := errors.AsType[*fs.PathError](err); err != nil && !unreadable {
		err = fmt.Errorf("%s is damaged (%w): remove the folder, and a new one will be made", s.file(keyFile), err)
	}
	return pair, err
}

// Ephemeral returns an identity that is not stored, and roots that trust it.
func Ephemeral() (*Identity, *x509.CertPool, error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	pair, err := selfSign(template(time.Now()), key)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	return &Identity{pair, true}, roots, nil
}
