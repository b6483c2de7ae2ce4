package rpc

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/certtest"
)

// FuzzTLS reads any files of authorities, of a certificate and of its key. Nobody
// is trusted whose certificate is not there, what is shown has its own key, and what
// is wrong is told without a word of a key, whichever file it stands in.
func FuzzTLS(f *testing.F) {
	authority := certtest.New(f)
	cert, key := authority.Sign(f, time.Hour, "services.parley")
	other, _ := authority.Sign(f, time.Hour, "services.parley")
	lines := strings.Split(strings.TrimSpace(string(key)), "\n")
	body := lines[1 : len(lines)-1]
	contents := strings.NewReplacer("AUTHORITY", string(authority.PEM()), "CERT", string(cert), "OTHER", string(other), "KEY", string(key), "LINE", body[0])
	for _, seed := range [][3]string{
		{"AUTHORITY", "", ""}, {"AUTHORITY", "CERT", "KEY"}, {"x AUTHORITY\nAUTHORITY", "CERTAUTHORITY", "y\nKEY"},
		{"", "CERT", "KEY"}, {"KEY", "CERT", "KEY"}, {"AUTHORITY", "KEY", "CERT"}, {"AUTHORITY", "KEY", "KEY"}, {"AUTHORITY", "OTHER", "KEY"},
		{"AUTHORITY", "CERT", "LINE"}, {"AUTHORITY", "-----BEGIN LINE-----\n-----END LINE-----", "KEY"}, {"AUTHORITY", "CERT", "-----BEGIN LINE-----\n-----END LINE-----"},
		{"AUTHORITY", "-----BEGIN CERTIFICATE-----\nLINE\n-----END CERTIFICATE-----", "KEY"}, {"AUTHORITY", "CERT", "-----BEGIN PRIVATE KEY-----\nLINE\n-----END PRIVATE KEY-----"},
		{"-----BEGIN CERTIFICATE-----\nLINE: LINE\n\nLINE\n-----END CERTIFICATE-----", "CERT", "KEY"},
		{"AUTHORITY", "CERT", "-----BEGIN RSA PRIVATE KEY-----\nMA0GCSqGSIb3DQEB\n-----END RSA PRIVATE KEY-----"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Add(string(authority.PEM()), string(cert), string(key)) // whose bytes may be others
	f.Fuzz(func(t *testing.T, authorities, shown, its string) {
		files := [][]byte{[]byte(contents.Replace(authorities))}
		if shown+its != "" {
			files = append(files, []byte(contents.Replace(shown)), []byte(contents.Replace(its)))
		}
		m, err := parseTLS(files)
		if err != nil {
			for _, line := range body {
				for ; len(line) >= 16; line = line[1:] {
					if strings.Contains(err.Error(), line[:16]) {
						t.Fatalf("it says of the key: %v", err)
					}
				}
			}
			return
		}
		standing := x509.NewCertPool()
		for block, rest := pem.Decode(files[0]); block != nil; block, rest = pem.Decode(rest) {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" && len(block.Headers) == 0 {
				standing.AddCert(c)
			}
		}
		if !m.authorities.Equal(standing) || standing.Equal(x509.NewCertPool()) {
			t.Error("others are trusted than those whose certificates are there, or nobody is")
		}
		switch {
		case len(files) == 1 && m.certificate != nil:
			t.Error("a certificate is shown where there is none")
		case len(files) > 1 && !fits(m.certificate):
			t.Error("what is shown has another's key")
		}
	})
}

func fits(c *tls.Certificate) bool {
	signer, ok := c.PrivateKey.(crypto.Signer)
	if !ok || c.Leaf == nil { // Expires needs it
		return false
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.Leaf.PublicKey)
}
