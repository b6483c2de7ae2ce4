package token

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/secret"
)

const (
	// MaxLength bounds a token before anything of it is decoded; it also fits
	// into the headers that a browser or proxy will carry.
	MaxLength = 8 << 10
	// Leeway is how far the clock of whoever made a token may be ahead of
	// ours, for iat and nbf, or behind it, for exp.
	Leeway = 5 * time.Second
)

// What every refusal says: enough for the client to know what to do, nothing
// about keys.
var (
	errInvalid = errs.New(errs.Unauthenticated, "token is not valid")
	errExpired = errs.New(errs.Unauthenticated, "token has expired")
	errEarly   = errs.New(errs.Unauthenticated, "token is not valid yet")
	errTooLong = errs.New(errs.Unauthenticated, "token is longer than %d bytes", MaxLength)
)

// WeakSecret says whether a secret for HS256 is shorter than the hash, which
// RFC 7518, section 3.2 forbids: it can be guessed from any token.
func WeakSecret(secret []byte) bool { return len(secret) < 32 }

// VerifierOptions says what a Verifier accepts beside the keys it is given.
type VerifierOptions struct {
	// Secret makes tokens with HS256 welcome; empty refuses them all.
	Secret secret.Bytes
	// Issuers are others whose tokens are welcome; nil for none.
	Issuers *Issuers
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Verifier checks tokens. Its methods may be called by many goroutines at
// once.
//
// A token's alg and iss decide who vouches for it, and each voucher has its own
// way to the key and to the claims: HS256 is always the secret's, an iss that is
// an issuer's always the issuer's, and what is left our own. A key is found for
// one alg alone. So no token has one voucher's key checked by another's rules,
// or a public key taken for a secret (RFC 8725, section 3.1). Keys come from
// here alone; jwk, jku, x5u and x5c in a header are never looked at.
type Verifier struct {
	keys    atomic.Pointer[map[string]PublicKey]
	secret  []byte
	issuers map[string]*issuer // by iss
	parser  *jwt.Parser
	now     func() time.Time
}

// voucher is one source of tokens.
type voucher struct {
	// key finds the key of a token by its header.
	key func(header map[string]any) (any, error)
	// read takes the names out of a payload whose signature is right.
	read func(payload jwt.MapClaims) (Claims, error)
}

// NewVerifier makes a verifier that has no keys yet.
func NewVerifier(o VerifierOptions) *Verifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &Verifier{now: o.Now, secret: slices.Clone(o.Secret)}
	v.SetKeys(nil)
	algs := []string{jwt.SigningMethodEdDSA.Alg()}
	if len(v.secret) > 0 {
		algs = append(algs, jwt.SigningMethodHS256.Alg())
	}
	if o.Issuers != nil && len(o.Issuers.byIss) > 0 {
		v.issuers = o.Issuers.byIss
		algs = append(algs, jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg())
	}
	v.parser = jwt.NewParser(
		jwt.WithValidMethods(algs),
		jwt.WithStrictDecoding(),
		jwt.WithJSONNumber(),
		// The times are checked here, with one leeway and our own answers.
		jwt.WithoutClaimsValidation(),
	)
	return v
}

// SetKeys replaces our own keys. Checks that are under way finish with the old
// ones.
func (v *Verifier) SetKeys(keys []PublicKey) {
	set := make(map[string]PublicKey, len(keys))
	for _, key := range keys {
		set[key.id] = key
	}
	v.keys.Store(&set)
}

// Keys are the keys set last, in no order.
func (v *Verifier) Keys() []PublicKey {
	var keys []PublicKey
	for _, key := range *v.keys.Load() {
		keys = append(keys, key)
	}
	return keys
}

// Has says whether one of the keys set last has this kid.
func (v *Verifier) Has(kid string) bool {
	_, ok := (*v.keys.Load())[kid]
	return ok
}

// Verify checks a token's form, signature and times, and tells what it says.
// Whether it was revoked is not known here. It asks nobody, but where a token
// names a key that is new to us, which may take 5 s. Errors: unauthenticated,
// with a message that its bearer may read; unavailable where an issuer's keys
// are out of reach.
func (v *Verifier) Verify(raw string) (Claims, error) {
	c, err := v.VerifyEnded(raw)
	if err != nil {
		return Claims{}, err
	}
	if !c.ExpiresAt.IsZero() && !v.now().Before(c.ExpiresAt.Add(Leeway)) {
		return Claims{}, errExpired
	}
	return c, nil
}

// VerifyEnded is Verify for a token that may have expired: it still tells
// whose it was, which is enough for signing out.
func (v *Verifier) VerifyEnded(raw string) (Claims, error) {
	if len(raw) > MaxLength {
		return Claims{}, errTooLong
	}
	payload := jwt.MapClaims{}
	var from voucher
	_, err := v.parser.ParseWithClaims(raw, payload, func(t *jwt.Token) (any, error) {
		// Extensions that must be understood are not (RFC 7515, section 4.1.11).
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("the header has crit")
		}
		from = v.voucher(t.Method.Alg(), payload)
		return from.key(t.Header)
	})
	if errs.CodeOf(err) == errs.Unavailable {
		return Claims{}, errs.From(err)
	}
	if err != nil {
		return Claims{}, &errs.Error{Code: errInvalid.Code, Message: errInvalid.Message, Cause: err}
	}
	c, err := from.read(payload)
	if err != nil {
		return Claims{}, err
	}
	r := reader{payload: payload}
	c.IssuedAt, c.ExpiresAt = r.date("iat"), r.date("exp")
	notBefore := r.date("nbf")
	if r.err != nil {
		return Claims{}, r.err
	}
	if latest := v.now().Add(Leeway); c.IssuedAt.After(latest) || notBefore.After(latest) {
		return Claims{}, errEarly
	}
	return c, nil
}

// voucher tells who has to have signed a token.
func (v *Verifier) voucher(alg string, payload jwt.MapClaims) voucher {
	if alg == jwt.SigningMethodHS256.Alg() {
		// A kid does not matter: there is one secret.
		return voucher{key: func(map[string]any) (any, error) { return v.secret, nil }, read: readForeign}
	}
	iss, _ := payload["iss"].(string)
	if i := v.issuers[iss]; i != nil {
		return voucher{read: i.read, key: func(header map[string]any) (any, error) {
			kid, err := keyID(header)
			if err != nil {
				return nil, err
			}
			return i.key(keyName{kid, alg})
		}}
	}
	return voucher{key: v.ownKey, read: readOwn}
}

func keyID(header map[string]any) (string, error) {
	kid, ok := header["kid"].(string)
	if !ok {
		return "", errors.New("the header names no key")
	}
	return kid, nil
}

// ownKey finds one of our keys; they are for EdDSA, and the library refuses
// them for anything else.
func (v *Verifier) ownKey(header map[string]any) (any, error) {
	kid, err := keyID(header)
	if err != nil {
		return nil, err
	}
	key, ok := (*v.keys.Load())[kid]
	if !ok {
		return nil, errors.New("the header names an unknown key")
	}
	return key.key, nil
}
