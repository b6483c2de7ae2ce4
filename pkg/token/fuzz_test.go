package token_test

import (
	"net/url"
	"testing"

	"github.com/parley-im/parley/pkg/token"
)

// FuzzIssuers reads any file of issuers. Each that it takes can be told from the
// others, has its keys where nobody on the way can change them, and no users that
// are guests or anybody else's.
func FuzzIssuers(f *testing.F) {
	for _, seed := range []string{
		"issuers:\n  - name: corp\n    issuer: https://id.example.com\n    jwks: https://id.example.com/keys\n    audience: [parley]\n    claims: {id: sub, roles: realm_access.roles}\n    roles: {chat-admins: admin}\n",
		"issuers:\n  - {name: a, issuer: a, jwks: 'https://a', audience: [a]}\n  - {name: b, issuer: b, jwks: 'http://b', audience: [b], prefix: ''}\n",
		"issuers: [null, {name: guest}]", "issuers: &a [*a]", "issuers: {}\n---\n", "[]", "",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, file string, insecure bool) {
		list, err := token.ParseIssuers([]byte(file), insecure)
		if err != nil {
			return
		}
		names, isses := make(map[string]bool), make(map[string]bool)
		for _, one := range list {
			keys, err := url.Parse(one.JWKS)
			if err != nil || keys.Host == "" || keys.User != nil || keys.Scheme != "https" && !(insecure && keys.Scheme == "http") {
				t.Errorf("%s has its keys at %q", one.Name, one.JWKS)
			}
			if one.Name == "" || one.Name == "guest" || names[one.Name] || one.Issuer == "" || isses[one.Issuer] || len(one.Audience) == 0 {
				t.Errorf("%+v is taken", one)
			}
			names[one.Name], isses[one.Issuer] = true, true
		}
	})
}
