package token

import (
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// Signer makes the deployment's own tokens.
type Signer struct {
	key PrivateKey
}

// NewSigner makes a signer with a key.
func NewSigner(key PrivateKey) *Signer { return &Signer{key: key} }

// KeyID is the kid in the tokens it makes.
func (s *Signer) KeyID() string { return s.key.ID() }

// Sign writes a token. Its user id, session id, username and both times must
// be there: a token that a Verifier would refuse is not made.
func (s *Signer) Sign(c Claims) (string, error) {
	if err := c.check("sub"); err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	if c.SessionID == "" || c.IssuedAt.IsZero() || c.ExpiresAt.IsZero() {
		return "", errors.New("signing a token: the session or a time is missing")
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c.payload())
	t.Header["kid"] = s.key.ID()
	signed, err := t.SignedString(s.key.key)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	if len(signed) > MaxLength {
		return "", fmt.Errorf("signing a token: it would be longer than %d bytes", MaxLength)
	}
	return signed, nil
}
