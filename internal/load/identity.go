package load

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/livenet/livenet/internal/devtls"
	"github.com/livenet/livenet/internal/stack"
)

// An identity is what all servers of a run show, in a form that can be told
// them. It lives as long as the run.
type identity struct {
	Chain [][]byte // DER
	Key   []byte   // PKCS #8
}

// newIdentity is nil where the transport has no TLS.
func newIdentity(transport string) (*identity, error) {
	if !stack.AlwaysTLS(transport) {
		return nil, nil
	}
	made, _, err := devtls.Ephemeral()
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(made.Certificate.PrivateKey)
	if err != nil {
		return nil, err
	}
	return &identity{made.Certificate.Certificate, key}, nil
}

func (i *identity) certificate() (tls.Certificate, error) {
	leaf, err := x509.ParseCertificate(i.Chain[0])
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := x509.ParsePKCS8PrivateKey(i.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: i.Chain, PrivateKey: key, Leaf: leaf}, nil
}
