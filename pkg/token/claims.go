package token

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/text/unicode/norm"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
)

// Issuer is the iss of the deployment's own tokens.
const Issuer = "parley"

// Claims is what a token says.
type Claims struct {
	// UserID is 1–128 bytes without control characters.
	UserID string
	// SessionID is the sign-in behind the token; empty for a token that none
	// of ours stands behind.
	SessionID string
	// Username is 1–32 characters, in Unicode NFC.
	Username string
	Roles    []string
	// IssuedAt is exact to the millisecond in our own tokens; zero where a
	// foreign one does not tell.
	IssuedAt time.Time
	// ExpiresAt is in whole seconds; zero for a foreign token without an end.
	ExpiresAt time.Time
}

// payload writes the claims of one of our own tokens.
//
// iat has milliseconds (a NumericDate need not be an integer, RFC 7519,
// section 2): "all tokens issued before now are void" must tell a sign-in from
// the one that follows in the same second.
func (c Claims) payload() jwt.MapClaims {
	roles := c.Roles
	if roles == nil {
		roles = []string{}
	}
	return jwt.MapClaims{
		"iss":      Issuer,
		"sub":      c.UserID,
		"sid":      c.SessionID,
		"username": c.Username,
		"roles":    roles,
		"iat":      json.Number(fmt.Sprintf("%d.%03d", c.IssuedAt.Unix(), c.IssuedAt.Nanosecond()/1e6)),
		"exp":      c.ExpiresAt.Unix(),
	}
}

// readOwn reads the claims of a token that is signed with one of our keys.
// All of them are needed, for we have written them all.
func readOwn(payload jwt.MapClaims) (Claims, error) {
	r := reader{payload: payload}
	issuer := r.text("iss")
	c := Claims{
		UserID:    r.text("sub"),
		SessionID: r.text("sid"),
		Username:  r.text("username"),
		Roles:     r.texts("roles"),
	}
	if r.err != nil {
		return Claims{}, r.err
	}
	if issuer != Issuer || c.SessionID == "" || payload["exp"] == nil || payload["iat"] == nil {
		return Claims{}, errInvalid
	}
	return c, c.check("sub")
}

// readForeign reads the claims of a token that is signed with the shared
// secret: userId or else sub, username, roles. Where there is no username, the
// first 32 characters of the user's id stand in for it.
func readForeign(payload jwt.MapClaims) (Claims, error) {
	r := reader{payload: payload}
	from := "userId"
	if payload[from] == nil {
		from = "sub"
	}
	c := Claims{
		UserID:   r.text(from),
		Username: r.text("username"),
		Roles:    r.texts("roles"),
	}
	if r.err != nil {
		return Claims{}, r.err
	}
	if payload["username"] == nil {
		c.Username = shorten(c.UserID)
	}
	return c, c.check(from)
}

// check holds the names against the rules that all names have; idClaim is
// where the id came from.
func (c *Claims) check(idClaim string) error {
	if err := ids.CheckUser(idClaim, c.UserID); err != nil {
		return refuse(err)
	}
	name, err := ids.Username("username", c.Username)
	if err != nil {
		return refuse(err)
	}
	c.Username = name
	return nil
}

// shorten makes a username of a user id.
func shorten(id string) string {
	const length = 32
	id = norm.NFC.String(id)
	if utf8.RuneCountInString(id) <= length {
		return id
	}
	return string([]rune(id)[:length])
}

// refuse turns a complaint about a claim into one about the token.
func refuse(err error) error {
	return errs.New(errs.Unauthenticated, "token is not valid: %s", errs.From(err).Message)
}

// reader takes claims of known kinds out of a payload, by name or path, and
// keeps the first complaint. A claim that is not there, or null, has its zero value.
type reader struct {
	payload jwt.MapClaims
	err     error
}

func (r *reader) text(claim string) string {
	value := claimAt(r.payload, claim)
	if value == nil {
		return ""
	}
	text, ok := value.(string)
	if !ok {
		r.complain(claim, "is not a string")
	}
	return text
}

func (r *reader) texts(claim string) []string {
	value := claimAt(r.payload, claim)
	if value == nil {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		r.complain(claim, "is not an array of strings")
		return nil
	}
	texts := make([]string, 0, len(list))
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			r.complain(claim, "is not an array of strings")
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

// date reads a NumericDate (RFC 7519, section 2): seconds since 1970.
func (r *reader) date(claim string) time.Time {
	value := r.payload[claim]
	if value == nil {
		return time.Time{}
	}
	number, ok := value.(json.Number)
	if !ok {
		r.complain(claim, "is not a number")
		return time.Time{}
	}
	seconds, err := number.Float64()
	const year9999 = 253402300799
	if err != nil || seconds < 0 || seconds > year9999 {
		r.complain(claim, "is not a time")
		return time.Time{}
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000)))
}

func (r *reader) complain(claim, what string) {
	if r.err == nil {
		r.err = refuse(errs.Invalid(claim, "%s", what))
	}
}
