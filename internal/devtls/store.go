package devtls

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A Store is a folder with an authority and a certificate.
type Store struct{ Dir string }

// Names of the files in the folder.
const (
	authorityKey  = "ca-key.pem"
	authorityCert = "ca.pem"
	machineKey    = "key.pem"
	machineCert   = "cert.pem"
)

// An Identity is what a server shows.
type Identity struct {
	Certificate tls.Certificate
	Authority   *x509.Certificate
	Made        bool // just now, and not found
}

// Pin is the pin of the identity's key.
func (i *Identity) Pin() Pin { return PinOf(i.Certificate.Leaf) }

// Authority is the file that holds the authority's certificate.
func (s Store) Authority() string { return s.file(authorityCert) }

func (s Store) file(name string) string { return filepath.Join(s.Dir, name) }

// Identity returns the certificate, making whatever of it isn't there.
func (s Store) Identity() (*Identity, error) {
	ca, err := s.authority()
	if err != nil {
		return nil, err
	}
	key, made, err := s.key(machineKey)
	if err != nil {
		return nil, err
	}
	names := machineNames()
	fits := func(c *x509.Certificate) bool {
		return left(c) > machineRenew && slices.Equal(c.DNSNames, names) && c.CheckSignatureFrom(ca.cert) == nil
	}
	cert, err := s.certificate(machineCert, key, fits, func(now time.Time) (*x509.Certificate, error) {
		return sign(machineTemplate(now, names), ca.cert, key, ca.key)
	})
	if err != nil {
		return nil, err
	}
	return &Identity{chain(cert, key, ca.cert), ca.cert, made}, nil
}

// chain puts the authority behind the certificate, for clients that want to
// see it.
func chain(cert *x509.Certificate, key *ecdsa.PrivateKey, ca *x509.Certificate) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{cert.Raw, ca.Raw}, PrivateKey: key, Leaf: cert}
}

// Roots adds the store's authority to roots, and reports whether there is one.
func (s Store) Roots(roots *x509.CertPool) (bool, error) {
	cert, err := s.readCertificate(authorityCert)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	roots.AddCert(cert)
	return true, nil
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (s Store) authority() (*authority, error) {
	key, _, err := s.key(authorityKey)
	if err != nil {
		return nil, err
	}
	fits := func(c *x509.Certificate) bool { return left(c) > authorityRenew }
	cert, err := s.certificate(authorityCert, key, fits, func(now time.Time) (*x509.Certificate, error) {
		t := authorityTemplate(now)
		return sign(t, t, key, key)
	})
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, nil
}

// left is how long a certificate is still good.
func left(c *x509.Certificate) time.Duration { return time.Until(c.NotAfter) }

// key returns the key in a file. If there is none it makes one, or takes the
// one that another process has made at the same time.
func (s Store) key(name string) (key *ecdsa.PrivateKey, made bool, err error) {
	key, err = s.readKey(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = newKey(); err != nil {
		return nil, false, err
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, false, err
	}
	if made, err = once(s.file(name), text); err != nil {
		return nil, false, fmt.Errorf("can't keep the development certificate: %w", err)
	}
	key, err = s.readKey(name)
	return key, made, err
}

// certificate returns the certificate in a file. If there is none, or it does
// not fit any more, it puts a new one there: any number of them may be made for
// one key, and whichever comes last stays.
func (s Store) certificate(name string, key *ecdsa.PrivateKey, fits func(*x509.Certificate) bool, make func(now time.Time) (*x509.Certificate, error)) (*x509.Certificate, error) {
	cert, err := s.readCertificate(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && !key.PublicKey.Equal(cert.PublicKey) {
		return nil, s.damaged(name, errors.New("it is of another key than the one beside it"))
	}
	if err == nil && fits(cert) {
		return cert, nil
	}
	if cert, err = make(time.Now()); err != nil {
		return nil, err
	}
	if err = replace(s.file(name), encodeCertificate(cert)); err != nil {
		return nil, fmt.Errorf("can't keep the development certificate: %w", err)
	}
	return cert, nil
}

func (s Store) readKey(name string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(s.file(name))
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(text)
	if err != nil {
		return nil, s.damaged(name, err)
	}
	return key, nil
}

func (s Store) readCertificate(name string) (*x509.Certificate, error) {
	text, err := os.ReadFile(s.file(name))
	if err != nil {
		return nil, err
	}
	cert, err := decodeCertificate(text)
	if err != nil {
		return nil, s.damaged(name, err)
	}
	return cert, nil
}

func (s Store) damaged(name string, err error) error {
	return fmt.Errorf("%s is damaged (%w): remove the folder, and it will be made anew", s.file(name), err)
}

// Ephemeral is an identity that is kept nowhere, and the roots that trust it.
func Ephemeral() (*Identity, *x509.CertPool, error) {
	caKey, err1 := newKey()
	key, err2 := newKey()
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	now := time.Now()
	t := authorityTemplate(now)
	ca, err := sign(t, t, caKey, caKey)
	if err != nil {
		return nil, nil, err
	}
	cert, err := sign(machineTemplate(now, []string{"localhost"}), ca, key, caKey)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &Identity{chain(cert, key, ca), ca, true}, roots, nil
}
