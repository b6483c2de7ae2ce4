package token

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
)

// IssuerOptions describe somebody else whose tokens are welcome: an identity
// provider that publishes its keys.
type IssuerOptions struct {
	// Name is what the log calls it and, unless Prefix says otherwise, with a
	// colon what its users' ids begin with: 1–16 characters of [a-z0-9-].
	Name string `yaml:"name"`
	// Issuer is the iss of its tokens, character for character.
	Issuer string `yaml:"issuer"`
	// JWKS is the URL of its keys (RFC 7517, section 5), https except on
	// loopback.
	JWKS string `yaml:"jwks"`
	// Audience: the aud of a token has to have one of these.
	Audience []string `yaml:"audience"`
	// Claims say where a token has what we need of a user.
	Claims ClaimPaths `yaml:"claims"`
	// Roles are the roles of ours that the issuer's stand for, by theirs; what
	// is not named is dropped. Without any, the issuer's are taken as they are.
	Roles map[string]string `yaml:"roles"`
	// Prefix begins the ids of its users in place of Name and a colon. Empty
	// takes the ids as they are, so that the issuer can speak for every account
	// of ours.
	Prefix *string `yaml:"prefix"`
}

// ClaimPaths name claims: "sub", or "realm_access.roles" for one inside
// another. A claim whose own name has dots is found first.
type ClaimPaths struct {
	// ID is where the user's id is; default sub.
	ID string `yaml:"id"`
	// Name is where the username is; default preferred_username, or else name.
	// One that is too long is cut to 32 characters, and where there is none the
	// id stands in.
	Name string `yaml:"name"`
	// Roles is where the roles are, a list of strings or a string with spaces
	// between them; without it there are none.
	Roles string `yaml:"roles"`
}

var (
	issuerName = regexp.MustCompile(`^[a-z0-9-]{1,16}$`)
	// idPrefix has its only colon at its end, so no two ids of different
	// prefixes are the same; and our own accounts' ids have none.
	idPrefix = regexp.MustCompile(`^([a-z0-9-]{1,32}:)?$`)
)

// check says what is wrong, and completes what has a default. insecure allows
// http to any host.
func (o *IssuerOptions) check(insecure bool) error {
	switch {
	case !issuerName.MatchString(o.Name):
		return fmt.Errorf("name %q: not 1 to 16 characters of [a-z0-9-]", o.Name)
	case o.Name+":" == ids.GuestPrefix || o.Prefix != nil && *o.Prefix == ids.GuestPrefix:
		return fmt.Errorf("%q is for guests", ids.GuestPrefix)
	case o.Prefix != nil && !idPrefix.MatchString(*o.Prefix):
		return fmt.Errorf("prefix %q: neither empty nor characters of [a-z0-9-] with a colon at the end", *o.Prefix)
	case o.Issuer == "":
		return errors.New("issuer: is missing")
	case o.Issuer == Issuer:
		return fmt.Errorf("issuer: %q is our own", Issuer)
	case len(o.Audience) == 0 || slices.Contains(o.Audience, ""):
		return errors.New("audience: is missing; without it, tokens that were made for others would be good here")
	}
	u, err := url.Parse(o.JWKS)
	switch {
	case (err != nil || u.Host == "" || u.User != nil) && strings.Contains(o.JWKS, "@"): // behind a password, which is not repeated
		return errors.New("jwks: is no URL like https://id.example.com/keys, without a user and a password")
	case err != nil || u.Host == "":
		return fmt.Errorf("jwks: %q is no URL like https://id.example.com/keys", o.JWKS)
	case u.Scheme == "https":
	case u.Scheme == "http" && (insecure || loopback(u.Hostname())):
	default:
		return errors.New("jwks: is not https, so whoever is on the way could replace the keys")
	}
	if o.Prefix == nil {
		prefix := o.Name + ":"
		o.Prefix = &prefix
	}
	if o.Claims.ID == "" {
		o.Claims.ID = "sub"
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// read takes the names out of a token of this issuer, whose signature is
// right.
func (o *IssuerOptions) read(payload jwt.MapClaims) (Claims, error) {
	audience, err := payload.GetAudience()
	if err != nil || !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(o.Audience, a) }) {
		return Claims{}, errs.New(errs.Unauthenticated, "token is not valid: it was made for others")
	}
	if payload["exp"] == nil {
		return Claims{}, errs.New(errs.Unauthenticated, "token is not valid: it has no end")
	}
	r := reader{payload: payload}
	id := r.text(o.Claims.ID)
	if r.err != nil {
		return Claims{}, r.err
	}
	if id == "" {
		return Claims{}, refuse(errs.Invalid(o.Claims.ID, "is missing"))
	}
	c := Claims{UserID: *o.Prefix + id, Username: o.username(payload, id), Roles: o.roles(&r)}
	if r.err != nil {
		return Claims{}, r.err
	}
	return c, c.check(o.Claims.ID)
}

// username finds a name to show. Its bearer can often not change it, so what
// is too long or missing is no reason for a refusal.
func (o *IssuerOptions) username(payload jwt.MapClaims, id string) string {
	paths := []string{"preferred_username", "name"}
	if o.Claims.Name != "" {
		paths = []string{o.Claims.Name}
	}
	for _, path := range paths {
		if name, ok := claimAt(payload, path).(string); ok && strings.TrimSpace(name) != "" {
			return shorten(name)
		}
	}
	return shorten(id)
}

func (o *IssuerOptions) roles(r *reader) []string {
	if o.Claims.Roles == "" {
		return nil
	}
	var theirs []string
	if words, ok := claimAt(r.payload, o.Claims.Roles).(string); ok {
		theirs = strings.Fields(words)
	} else {
		theirs = r.texts(o.Claims.Roles)
	}
	if len(o.Roles) == 0 {
		return theirs
	}
	var ours []string
	for _, role := range theirs {
		if name, ok := o.Roles[role]; ok && !slices.Contains(ours, name) {
			ours = append(ours, name)
		}
	}
	return ours
}

// claimAt finds a claim by its name or, where there is none, by its path; nil
// where there is nothing.
func claimAt(payload map[string]any, path string) any {
	if value, ok := payload[path]; ok {
		return value
	}
	head, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil
	}
	inner, _ := payload[head].(map[string]any)
	return claimAt(inner, rest)
}
