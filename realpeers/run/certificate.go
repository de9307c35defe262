package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificates are those of one run. None of them outlives it.
type certificates struct {
	good tls.Certificate // for 127.0.0.1 and localhost, by an authority that clients are told to trust
	bad  tls.Certificate // the same, by no client
	pool *x509.CertPool  // has the authority
	spki string          // the SHA-256 of good's public key, in base64

	authority string // paths: the authority's certificate,
	chain     string // good,
	key       string // its key,
	both      string // and the two in one file
}

func newCertificates(dir string) (*certificates, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return nil, err
	}
	c := &certificates{pool: x509.NewCertPool()}
	c.pool.AddCert(ca)
	leaf := func(serial int64, parent *x509.Certificate, signer *ecdsa.PrivateKey) (tls.Certificate, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return tls.Certificate{}, err
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"},
			DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		}
		if parent == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}
	if c.good, err = leaf(2, ca, caKey); err != nil {
		return nil, err
	}
	if c.bad, err = leaf(3, nil, nil); err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(c.good.PrivateKey.(*ecdsa.PrivateKey).Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki)
	c.spki = base64.StdEncoding.EncodeToString(sum[:])
	key, err := x509.MarshalPKCS8PrivateKey(c.good.PrivateKey)
	if err != nil {
		return nil, err
	}
	authorityPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	chainPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.good.Certificate[0]})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for _, f := range []struct {
		path *string
		name string
		data []byte
	}{
		{&c.authority, "authority.pem", authorityPEM},
		{&c.chain, "chain.pem", chainPEM},
		{&c.key, "key.pem", keyPEM},
		{&c.both, "both.pem", bytes.Join([][]byte{chainPEM, keyPEM}, nil)},
	} {
		*f.path = filepath.Join(dir, f.name)
		if err := os.WriteFile(*f.path, f.data, 0o600); err != nil {
			return nil, err
		}
	}
	return c, nil
}
