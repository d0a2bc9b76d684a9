package devtls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A Pin is the SHA-256 of a certificate's public key (its SubjectPublicKeyInfo). A client
// that knows it needs no certificate authority.
type Pin [sha256.Size]byte

const pinPrefix = "sha256:"

// PinOf returns the pin of a certificate's key.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

func (p Pin) String() string { return pinPrefix + hex.EncodeToString(p[:]) }

// ParsePin parses the result of String.
func ParsePin(text string) (p Pin, err error) {
	digits, ok := strings.CutPrefix(text, pinPrefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(p) {
		return p, fmt.Errorf("%q: want sha256: and %d hexadecimal digits", text, 2*len(p))
	}
	return Pin(b), nil
}

// Config returns a client's config that trusts only the pinned key, whatever names and dates
// the certificate has.
func (p Pin) Config() *tls.Config {
	return verifying(func(shown []*x509.Certificate) error {
		if got := PinOf(shown[0]); got != p {
			return &PinError{Want: p, Got: got}
		}
		return nil
	})
}

// verifying returns a client's config that verifies certificates with verify only.
func verifying(verify func(shown []*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		// InsecureSkipVerify turns off crypto/tls's verification. VerifyConnection replaces
		// it, and unlike VerifyPeerCertificate also runs on resumption.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the server has no certificate")
			}
			return verify(state.PeerCertificates)
		},
	}
}

// PinError says that a server has another key than the pinned one.
type PinError struct{ Want, Got Pin }

func (e *PinError) Error() string {
	return "the server's key is not the pinned one, but " + e.Got.String()
}
