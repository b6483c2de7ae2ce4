package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// maxKeys bounds the keys of one issuer, and maxKeyID the bytes of a kid.
	maxKeys  = 100
	maxKeyID = 256
	// minRSA and maxRSA are in bits; below the first RFC 7518, section 3.3
	// forbids RS256, and above the other a check costs too much.
	minRSA, maxRSA = 2048, 8192
)

// keyName is what a key is found by. A key is good for one alg alone, so that
// the alg in a token's header can never give a key another meaning.
type keyName struct{ kid, alg string }

// foreignJWK is a key as others publish it (RFC 7517, RFC 7518 section 6, RFC 8037).
type foreignJWK struct {
	Kty    string   `json:"kty"`
	Kid    string   `json:"kid"`
	Alg    string   `json:"alg"`
	Use    string   `json:"use"`
	KeyOps []string `json:"key_ops"`
	Crv    string   `json:"crv"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
}

// parseJWKS reads a set of keys. Keys that are not for signatures of ours (for
// encryption, of other kinds, without a kid) are passed over, as RFC 7517,
// section 5 wants; those that are broken, and all that share a name, are told
// of beside the ones that can be used.
func parseJWKS(document []byte) (map[keyName]crypto.PublicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, fmt.Errorf("the set of keys is not understood: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the set of keys has more than %d", maxKeys)
	}
	keys := make(map[keyName]crypto.PublicKey)
	twice := make(map[keyName]bool)
	var failed []error
	for i, raw := range set.Keys {
		var j foreignJWK
		if err := json.Unmarshal(raw, &j); err != nil {
			failed = append(failed, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		alg, parse := j.kind()
		if alg == "" || j.Kid == "" || len(j.Kid) > maxKeyID {
			continue
		}
		key, err := parse()
		if err != nil {
			failed = append(failed, fmt.Errorf("key %q: %w", j.Kid, err))
			continue
		}
		name := keyName{j.Kid, alg}
		if _, known := keys[name]; known {
			twice[name] = true
		}
		keys[name] = key
	}
	for name := range twice {
		delete(keys, name)
		failed = append(failed, fmt.Errorf("key %q: there are several of this name", name.kid))
	}
	return keys, errors.Join(failed...)
}

// kind tells what alg a key is for and how it is read; "" for none of ours.
func (j *foreignJWK) kind() (alg string, parse func() (crypto.PublicKey, error)) {
	switch {
	case j.Use != "" && j.Use != "sig", len(j.KeyOps) > 0 && !slices.Contains(j.KeyOps, "verify"):
		return "", nil
	case j.Kty == "RSA":
		alg, parse = jwt.SigningMethodRS256.Alg(), j.rsa
	case j.Kty == "EC" && j.Crv == "P-256":
		alg, parse = jwt.SigningMethodES256.Alg(), j.p256
	case j.Kty == "OKP" && j.Crv == "Ed25519":
		alg, parse = jwt.SigningMethodEdDSA.Alg(), j.ed25519
	}
	// "Ed25519" is RFC 9864's name for what was EdDSA.
	if j.Alg != "" && j.Alg != alg && !(j.Alg == "Ed25519" && j.Kty == "OKP") {
		return "", nil
	}
	return alg, parse
}

func (j *foreignJWK) rsa() (crypto.PublicKey, error) {
	n, err1 := base64.RawURLEncoding.DecodeString(j.N)
	e, err2 := base64.RawURLEncoding.DecodeString(j.E)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	exponent := new(big.Int).SetBytes(e)
	if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
		return nil, fmt.Errorf("an RSA key of %d bits is not between %d and %d", bits, minRSA, maxRSA)
	}
	if exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 {
		return nil, errors.New("its exponent is not an odd number from 3 to 2^31")
	}
	key.E = int(exponent.Int64())
	return key, nil
}

func (j *foreignJWK) p256() (crypto.PublicKey, error) {
	x, err1 := base64.RawURLEncoding.DecodeString(j.X)
	y, err2 := base64.RawURLEncoding.DecodeString(j.Y)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if len(x) != 32 || len(y) != 32 {
		return nil, errors.New("its coordinates are not of 32 bytes")
	}
	// Uncompressed (SEC 1, section 2.3.3). A point off the curve is an error.
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
}

func (j *foreignJWK) ed25519() (crypto.PublicKey, error) {
	x, err := base64.RawURLEncoding.DecodeString(j.X)
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("x is not of %d bytes", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(x), nil
}
