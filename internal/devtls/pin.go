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

// A Pin is the SHA-256 of a certificate's public key (its
// SubjectPublicKeyInfo). A client that knows it needs no authority.
type Pin [sha256.Size]byte

const pinPrefix = "sha256:"

// PinOf is the pin of a certificate's key.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

func (p Pin) String() string { return pinPrefix + hex.EncodeToString(p[:]) }

// ParsePin reads what String has written.
func ParsePin(text string) (p Pin, err error) {
	digits, ok := strings.CutPrefix(text, pinPrefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(p) {
		return p, fmt.Errorf("%q: want sha256: and %d hexadecimal digits", text, 2*len(p))
	}
	return Pin(b), nil
}

// Config is a client's config that trusts the holder of the pinned key and
// nobody else, whatever the certificate says of names and dates.
func (p Pin) Config() *tls.Config {
	return verifying(func(shown []*x509.Certificate) error {
		if got := PinOf(shown[0]); got != p {
			return &PinError{Want: p, Got: got}
		}
		return nil
	})
}

// verifying is a client's config that trusts whom verify does.
func verifying(verify func(shown []*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		// This turns off crypto/tls's own verification; the one below takes its
		// place, and unlike VerifyPeerCertificate runs on resumption, too.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the server has no certificate")
			}
			return verify(state.PeerCertificates)
		},
	}
}

// PinError is a server that holds another key than the pinned one.
type PinError struct{ Want, Got Pin }

func (e *PinError) Error() string {
	return "the server's key is not the pinned one, but " + e.Got.String()
}
