package access

import (
	"slices"
	"strings"
	"testing"
)

// FuzzCallers reads any file of callers. Nobody it lets in is one of our own
// services, has no scope or a token that can be guessed; and what is wrong is told
// without the tokens that stand there.
func FuzzCallers(f *testing.F) {
	const token = "a token that nobody guesses"
	for _, seed := range []string{
		"callers:\n  - {name: shop, token: TOKEN, scopes: [publish, read]}\n",
		"callers:\n  - {name: a, token: TOKEN, scopes: [read]}\n  - {name: a, token: TOKEN, scopes: [admin]}\n",
		"callers:\n  - {name: console, certificate: console.internal, scopes: [admin]}\n  - null\n",
		"callers: [{name: s, token-sha256: " + strings.Repeat("0a", 32) + ", scopes: [users, rooms]}]",
		"callers: [{name: TOKEN, token: TOKEN TOKEN, scopes: [service, everything]}]",
		"callers: &a [{<<: *a, token: TOKEN}]\n---\ncallers: 1\n", "callers: {TOKEN: TOKEN}", "\t", "",
		"callers: [{0a TOKEN: x}, {tokens: x}]", "callers: [{TOKEN\": x, \"a\": {TOKEN: TOKEN}}]", "TOKEN: 1\nTOKEN: 2\n",
		"callers: [{scope: !TOKEN x, TOKEN: y}]", "callers: !a%20TOKEN 1", "callers: *TOKEN", "callers: [{token: &TOKEN [*TOKEN]}]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		c, err := parseCallers([]byte(strings.ReplaceAll(file, "TOKEN", token)))
		if err != nil {
			// A name is told: whoever writes a token there is told it.
			if !strings.Contains(file, "name") && strings.Contains(err.Error(), token) {
				t.Errorf("it says the token: %v", err)
			}
			return
		}
		check := func(who Caller) {
			if who.Name == "" || len(who.scopes) == 0 || slices.Contains(who.scopes, Service) {
				t.Errorf("%+v is let in", who)
			}
		}
		for _, who := range c.tokens {
			check(who)
		}
		for name, who := range c.certificates {
			if check(who); name == "" {
				t.Errorf("%+v needs no certificate", who)
			}
		}
	})
}
