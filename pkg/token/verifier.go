package token

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/errs"
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
	Secret []byte
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Verifier checks tokens. Its methods may be called by many goroutines at
// once.
//
// Who vouches for a token follows from its alg, and each voucher has one alg,
// one way to its key and one way to read the claims: so a token cannot have
// one voucher's key checked by another's rules (RFC 8725, section 3.1). Keys
// come from here alone; jwk, jku and x5c in a header are never looked at.
type Verifier struct {
	keys     atomic.Pointer[map[string]PublicKey]
	vouchers map[string]voucher // by alg
	parser   *jwt.Parser
	now      func() time.Time
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
	v := &Verifier{now: o.Now}
	v.SetKeys(nil)
	v.vouchers = map[string]voucher{
		jwt.SigningMethodEdDSA.Alg(): {key: v.ownKey, read: readOwn},
	}
	if len(o.Secret) > 0 {
		secret := append([]byte(nil), o.Secret...)
		v.vouchers[jwt.SigningMethodHS256.Alg()] = voucher{
			// A kid does not matter: there is one secret.
			key:  func(map[string]any) (any, error) { return secret, nil },
			read: readForeign,
		}
	}
	var algs []string
	for alg := range v.vouchers {
		algs = append(algs, alg)
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
// Whether it was revoked is not known here. Errors: unauthenticated, with a
// message that its bearer may read.
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
		from = v.vouchers[t.Method.Alg()] // one of them, the parser has checked it
		return from.key(t.Header)
	})
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

// ownKey finds one of our keys.
func (v *Verifier) ownKey(header map[string]any) (any, error) {
	kid, ok := header["kid"].(string)
	if !ok {
		return nil, errors.New("the header names no key")
	}
	key, ok := (*v.keys.Load())[kid]
	if !ok {
		return nil, errors.New("the header names an unknown key")
	}
	return key.key, nil
}
