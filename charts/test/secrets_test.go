package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// newSecrets makes the secrets that the matrix names, as an operator would.
func newSecrets(t testing.TB) map[string]map[string]string {
	t.Helper()
	certificate := newCertificate(t)
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.NewUserClaims(public).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]map[string]string{
		"parley-trust": {
			"service-token": "a service token of the tests", "backend-token": "a back end's token of the tests",
		},
		"parley-callers":                {"callers.yaml": "callers: [{name: shop, token: a caller's token of the tests, scopes: [publish]}]\n"},
		"parley-jwt":                    {"jwt-secret": "a secret of the tests that is long enough"},
		"parley-nats":                   {"user": "parley", "password": "1234567", "user.creds": string(credentials), "user.nk": string(seed)},
		"parley-hook":                   {"hook-token": "a hook's token of the tests"},
		"parley-hook-tls":               certificate,
		"parley-nats-tls":               certificate,
		"parley-service-tls":            certificate,
		release + "-parley-service-tls": certificate,
		release + "-parley-nats-tls":    certificate,
	}
}

// newCertificate makes an authority and a certificate of it.
func newCertificate(t testing.TB) map[string]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"parley-gateway", "localhost"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return map[string]string{
		"tls.crt": cert, "ca.crt": cert,
		"tls.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}
