package token_test

import (
	"strings"
	"testing"

	"github.com/parley-im/parley/pkg/token"
)

func TestParseIssuers(t *testing.T) {
	const good = `
issuers:
  - name: corp
    issuer: https://id.example.com
    jwks: https://id.example.com/keys
    audience: [parley]
    claims: {id: sub, name: nick, roles: realm_access.roles}
    roles: {chat-admins: admin}
`
	list, err := token.ParseIssuers([]byte(good), false)
	if err != nil || len(list) != 1 || list[0].Claims.Roles != "realm_access.roles" || list[0].Roles["chat-admins"] != "admin" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := token.ParseIssuers(nil, false); err != nil || len(list) != 0 {
		t.Errorf("an empty file: %v, %v", list, err)
	}
	second := "  - {name: b, issuer: b, jwks: 'https://b', audience: [b]}\n"
	for _, c := range []struct{ old, new, want string }{
		{"name: corp", "name: Corp", `issuer 1 ("Corp"): name`},
		{"name: corp", "name: guest", `is for guests`},
		{"issuer: https://id.example.com", "issuer: parley", "is our own"},
		{"issuer: https://id.example.com", "issuer: ''", "issuer: is missing"},
		{"jwks: https://", "jwks: http://", "is not https"},
		{"jwks: https://id.example.com/keys", "jwks: file:///etc/passwd", "is no URL"},
		{"jwks: https://id.example.com/keys", "jwks: ''", "is no URL"},
		{"jwks: https://", "jwks: https://user:password@", "is no URL"},
		{"audience: [parley]", "audience: []", "audience: is missing"},
		{"audience: [parley]", "audience: ['']", "audience: is missing"},
		{"audience", "audiences", "audiences"},
		{"audience: [parley]", "audience: [parley]\n    prefix: 'u_'", "prefix"},
		{"audience: [parley]", "audience: [parley]\n    prefix: 'guest:'", "is for guests"},
		{"roles: {chat-admins: admin}\n", "roles: {}\n" + second + strings.Replace(second, "issuer: b", "issuer: c", 1), `issuer 3 ("b"): name: another`},
		{"roles: {chat-admins: admin}\n", "roles: {}\n" + second + strings.Replace(second, "name: b", "name: c", 1), "issuer: another"},
		{"roles: {chat-admins: admin}\n", "roles: {}\n" + strings.Replace(second, "audience", "prefix: 'corp:', audience", 1), "prefix: another"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if _, err := token.ParseIssuers([]byte(text), false); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.new, err, c.want)
		}
	}
	plain := strings.Replace(good, "jwks: https://", "jwks: http://", 1)
	if _, err := token.ParseIssuers([]byte(plain), true); err != nil {
		t.Errorf("in development: %v", err)
	}
	local := strings.Replace(good, "jwks: https://id.example.com", "jwks: http://[::1]:8080", 1)
	if _, err := token.ParseIssuers([]byte(local), false); err != nil {
		t.Errorf("on loopback: %v", err)
	}
}
