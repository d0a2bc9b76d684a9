// Package devtls keeps a self-signed certificate for development: what a server
// shows that was given none, and what clients on the same machine trust.
//
// The certificate is for localhost, 127.0.0.1 and ::1 and lives for two weeks.
// It is renewed, by a server that starts or runs, when less than one is left. Its
// key stays, and with it the pin of the key. Any number of processes may make and
// renew it at once: a file appears whole or not at all, of two that make a key the
// second takes the first one's, and clients trust the key in whichever certificate.
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

// Names of the files in the folder. All that this package reads is in one file, so
// that the two can't come to differ; the certificate by itself is for other programs.
const (
	keyFile  = "key.pem" // and the certificate
	certFile = "cert.pem"
)

func (s Store) file(name string) string { return filepath.Join(s.Dir, name) }

// An Identity is what a server shows.
type Identity struct {
	Certificate tls.Certificate
	Made        bool // its key was made just now, and not found
}

// Pin returns the pin of the identity's key, which renewals don't change.
func (i *Identity) Pin() Pin { return PinOf(i.Certificate.Leaf) }

// Identity returns the identity in the folder. It makes one if there is none, and
// renews the certificate if little of its time is left.
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

// Renewing returns the GetCertificate of a server's config: it shows the identity,
// and renews the certificate when that is due. If it can't, it shows the old one and
// tries again a minute later.
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

// ClientConfig returns a config for dialling host, a name of this machine. It
// trusts the holder of the store's key, whichever name it was dialled by, for as
// long as the certificate that it shows is valid; and, as without a store, who
// has a certificate for host of an authority that the system trusts.
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

// keep makes a certificate for the key and puts both into the folder, by place.
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
		err = fmt.Errorf("%s is damaged (%w): remove the folder, and it will be made anew", s.file(keyFile), err)
	}
	return pair, err
}

// Ephemeral returns an identity that is kept nowhere, and the roots that trust it.
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
