package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// PrivateKey signs tokens. It prints as the key's id, whatever the verb, so
// that no log can hold the key.
type PrivateKey struct {
	key ed25519.PrivateKey
	pub PublicKey
}

// GenerateKey makes a new key.
func GenerateKey() PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return privateKey(key)
}

// ParsePrivateKey reads what Marshal wrote.
func ParsePrivateKey(pkcs8 []byte) (PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("decoding a private key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return PrivateKey{}, fmt.Errorf("decoding a private key: a %T is not an Ed25519 key", parsed)
	}
	return privateKey(key), nil
}

func privateKey(key ed25519.PrivateKey) PrivateKey {
	return PrivateKey{key: key, pub: publicKey(key.Public().(ed25519.PublicKey))}
}

// ID is the key's kid.
func (k PrivateKey) ID() string { return k.pub.id }

// Public is the key that checks what this one has signed.
func (k PrivateKey) Public() PublicKey { return k.pub }

// Marshal writes the key in PKCS #8, DER.
func (k PrivateKey) Marshal() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		panic(err) // an Ed25519 key always encodes
	}
	return der
}

// Format implements fmt.Formatter; slog goes through it too.
func (k PrivateKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "private key %s", k.pub.id) }

// MarshalJSON refuses, for encoders like slog's would write the fields.
func (k PrivateKey) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint(k)) }

// PublicKey checks tokens.
type PublicKey struct {
	id  string
	key ed25519.PublicKey
}

// publicKey names a key by its thumbprint (RFC 7638, RFC 8037 appendix A.3),
// so that an id can never come to mean another key.
func publicKey(key ed25519.PublicKey) PublicKey {
	canonical := `{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(key) + `"}`
	sum := sha256.Sum256([]byte(canonical))
	return PublicKey{id: base64.RawURLEncoding.EncodeToString(sum[:]), key: key}
}

// ID is the key's kid: 43 characters of [A-Za-z0-9_-].
func (k PublicKey) ID() string { return k.id }

// jwk is a key as RFC 8037, section 2 writes it.
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Kid string `json:"kid"`
	Alg string `json:"alg"`
	Use string `json:"use"`
}

func (k PublicKey) jwk() jwk {
	return jwk{
		Kty: "OKP",
		Crv: "Ed25519",
		X:   base64.RawURLEncoding.EncodeToString(k.key),
		Kid: k.id,
		Alg: "EdDSA",
		Use: "sig",
	}
}

// Marshal writes the key as a JSON Web Key.
func (k PublicKey) Marshal() []byte { return mustJSON(k.jwk()) }

// ParsePublicKey reads what Marshal wrote.
func ParsePublicKey(data []byte) (PublicKey, error) {
	var j jwk
	if err := json.Unmarshal(data, &j); err != nil {
		return PublicKey{}, fmt.Errorf("decoding a public key: %w", err)
	}
	if j.Kty != "OKP" || j.Crv != "Ed25519" || j.Alg != "EdDSA" || j.Use != "sig" {
		return PublicKey{}, fmt.Errorf("decoding a public key: %s %s for %s %s is not an Ed25519 key for signatures", j.Kty, j.Crv, j.Alg, j.Use)
	}
	x, err := base64.RawURLEncoding.Strict().DecodeString(j.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return PublicKey{}, fmt.Errorf("decoding a public key: x is not %d bytes of base64url", ed25519.PublicKeySize)
	}
	key := publicKey(x)
	if key.id != j.Kid {
		return PublicKey{}, fmt.Errorf("decoding a public key: kid %q does not name it", j.Kid)
	}
	return key, nil
}

// ParsePublicKeys reads a set of keys by kid, as bus.WatchKeys delivers it.
// The keys that can be read are returned even where the error names others.
func ParsePublicKeys(set map[string][]byte) ([]PublicKey, error) {
	var keys []PublicKey
	var failed []error
	for kid, data := range set {
		key, err := ParsePublicKey(data)
		if err == nil && key.id != kid {
			err = fmt.Errorf("key %q is kept under the name %q", key.id, kid)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(failed...)
}

// JWKS writes the document behind /.well-known/jwks.json (RFC 7517, section 5),
// ordered by kid.
func JWKS(keys []PublicKey) []byte {
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, key := range keys {
		set.Keys = append(set.Keys, key.jwk())
	}
	slices.SortFunc(set.Keys, func(a, b jwk) int { return strings.Compare(a.Kid, b.Kid) })
	return mustJSON(set)
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings always encode
	}
	return data
}
