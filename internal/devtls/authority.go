package devtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
)

// How long certificates live, and how long before their end they are renewed.
const (
	authorityLife  = 10 * 365 * day
	authorityRenew = 2 * 365 * day // a certificate of a year must end before its authority
	machineLife    = 365 * day
	machineRenew   = 60 * day

	day = 24 * time.Hour
)

// earlier dates certificates back a little, for clocks that are behind.
const earlier = time.Hour

// authorityTemplate is what the authority says of itself.
func authorityTemplate(now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: "livenet development CA", Organization: []string{"livenet"}},
		NotBefore:             now.Add(-earlier),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
}

// machineTemplate is what the certificate says of this machine.
func machineTemplate(now time.Time, names []string) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: "livenet development"},
		NotBefore:   now.Add(-earlier),
		NotAfter:    now.Add(machineLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
	}
}

// machineNames are the names that clients may know this machine by.
func machineNames() []string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return namesOf(host)
}

// namesOf are those of a machine that calls itself host. A certificate has room for
// ASCII only.
func namesOf(host string) []string {
	names := []string{"localhost"}
	ascii := !strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII })
	if host != "" && ascii && !slices.Contains(names, host) {
		names = append(names, host)
	}
	return names
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// sign makes a certificate.
func sign(template, parent *x509.Certificate, subject *ecdsa.PrivateKey, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1)) // RFC 5280, section 4.1.2.2: positive
	der, err := x509.CreateCertificate(rand.Reader, template, parent, subject.Public(), signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Types of PEM blocks.
const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

func encodeCertificate(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})
}

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

func decodeCertificate(text []byte) (*x509.Certificate, error) {
	der, err := decode(text, pemCertificate)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func decodeKey(text []byte) (*ecdsa.PrivateKey, error) {
	der, err := decode(text, pemKey)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an ECDSA key")
	}
	return k, nil
}

func decode(text []byte, kind string) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("no PEM block %q in it", kind)
	}
	return block.Bytes, nil
}
