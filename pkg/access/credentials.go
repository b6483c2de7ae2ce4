package access

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/reload"
)

// MinToken is how many bytes a token has at least. 32 random ones, written in
// base64 or hexadecimal, are what it should be.
const MinToken = 16

// What a call without good credentials is answered.
var (
	errNone = errs.New(errs.Unauthenticated,
		"no credentials: send a token as metadata \"authorization: Bearer …\", or a client certificate")
	errUnknown = errs.New(errs.Unauthenticated, "the token is not known here")
)

// Options are the credentials that are known. With none at all, and outside of
// development, only calls within the process are let in.
type Options struct {
	// Development lets callers without credentials do everything. One with
	// wrong credentials is refused all the same.
	Development bool
	// ServiceTokens are what Parley's services show each other; more than one
	// while they are being replaced.
	ServiceTokens []string
	// AdminToken is an operator's, with the scope admin.
	AdminToken string
	// BackEndToken is a back end's, with the scopes publish, read, rooms and
	// users.
	BackEndToken string
	// File names a file of further callers (see [ParseCallers]), which is read
	// anew when it has changed.
	File string
	// Peers are the names (DNS names, or URIs like spiffe://…) of which a
	// client certificate has to have one to be that of a Parley service. Without
	// them every certificate is that the authority has signed, but for those
	// that File names.
	Peers []string
	// Logger hears when File has changed; nil discards.
	Logger *slog.Logger
}

// Credentials tell callers. Its methods may be called by many goroutines at
// once.
type Credentials struct {
	development bool
	peers       []string
	fixed       callers
	file        *reload.Value[callers] // nil without one
}

// callers are those of some tokens and certificates. Tokens are kept, and
// found, by their hashes, so how long that takes tells nothing about a token.
type callers struct {
	tokens       map[[sha256.Size]byte]Caller
	certificates map[string]Caller // by name
}

// New makes credentials. Errors name the setting ("admin-token: …").
func New(o Options) (*Credentials, error) {
	c := &Credentials{
		development: o.Development, peers: o.Peers,
		fixed: callers{tokens: make(map[[sha256.Size]byte]Caller)},
	}
	add := func(setting, token string, who Caller) error {
		if len(token) < MinToken {
			return fmt.Errorf("%s: shorter than %d characters, which can be guessed", setting, MinToken)
		}
		hash := sha256.Sum256([]byte(token))
		if other, ok := c.fixed.tokens[hash]; ok && other.Name != who.Name {
			return fmt.Errorf("%s: the same as that of %q", setting, other.Name)
		}
		c.fixed.tokens[hash] = who
		return nil
	}
	var failed []error
	for _, token := range o.ServiceTokens {
		failed = append(failed, add("service-token", token, ourselves))
	}
	if o.AdminToken != "" {
		failed = append(failed, add("admin-token", o.AdminToken, backEnd("admin", []Scope{Admin})))
	}
	if o.BackEndToken != "" {
		failed = append(failed, add("backend-token", o.BackEndToken, backEnd("backend", []Scope{Publish, Read, Rooms, Users})))
	}
	if o.File != "" {
		var err error
		c.file, err = reload.New(reload.Options{Logger: o.Logger}, func(contents [][]byte) (callers, error) {
			return parseCallers(contents[0])
		}, o.File)
		if err != nil {
			failed = append(failed, fmt.Errorf("callers-file: %w", err))
		}
	}
	return c, errors.Join(failed...)
}

// Proof is what a call came with.
type Proof struct {
	// InProcess says that it was made in this process.
	InProcess bool
	// Owner says that it came by a socket which only the user who runs this
	// process can open.
	Owner bool
	// Token is the bearer token, empty where there is none.
	Token string
	// Certificate is the client's, verified; nil where there is none.
	Certificate *x509.Certificate
}

// Caller tells who has made a call. Where there are both, the token decides
// and not the certificate. Errors: unauthenticated.
func (c *Credentials) Caller(p Proof) (Caller, error) {
	switch {
	case p.InProcess:
		return ourselves, nil
	case p.Owner:
		return owner, nil
	case p.Token != "":
		hash := sha256.Sum256([]byte(p.Token))
		if who, ok := c.fixed.tokens[hash]; ok {
			return who, nil
		}
		if c.file != nil {
			if who, ok := c.file.Get().tokens[hash]; ok {
				return who, nil
			}
		}
		return Caller{}, errUnknown
	case p.Certificate != nil:
		return c.certified(p.Certificate)
	case c.development:
		return everybody, nil
	default:
		return Caller{}, errNone
	}
}

// certified tells who a certificate's bearer is.
func (c *Credentials) certified(certificate *x509.Certificate) (Caller, error) {
	names := namesOf(certificate)
	if c.file != nil {
		known := c.file.Get().certificates
		for _, name := range names {
			if who, ok := known[name]; ok {
				return who, nil
			}
		}
	}
	if len(c.peers) == 0 {
		return ourselves, nil
	}
	for _, name := range names {
		if slices.Contains(c.peers, name) {
			return ourselves, nil
		}
	}
	return Caller{}, errs.New(errs.Unauthenticated, "a certificate of %q is not known here", names)
}

// namesOf gives the names that a certificate was made for. Its common name is
// for people and proves nothing (RFC 9525, section 6.3).
func namesOf(certificate *x509.Certificate) []string {
	names := slices.Clone(certificate.DNSNames)
	for _, uri := range certificate.URIs {
		names = append(names, uri.String())
	}
	return names
}

// Check says whether a caller may call a method that needs a scope. Errors:
// forbidden.
func Check(who Caller, method string, need Scope) error {
	switch {
	case need == 0:
		return errs.New(errs.Forbidden, "%s can be called by nobody", method)
	case who.May(need):
		return nil
	default:
		return errs.New(errs.Forbidden, "%q has not the scope %s, which %s needs", who.Name, ScopeName(need), method)
	}
}
