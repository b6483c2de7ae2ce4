package access_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/access"
	"github.com/parley-im/parley/pkg/errs"
	authv1 "github.com/parley-im/parley/proto/auth/v1"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

func TestNeeds(t *testing.T) {
	for method, want := range map[string]access.Scope{
		historyv1.History_Publish_FullMethodName: access.Publish,
		historyv1.History_Erase_FullMethodName:   access.Service,
		authv1.Auth_Revoke_FullMethodName:        access.Admin,
		"/parley.history.v1.History/Nothing":     0,
		"/parley.history.v1.Nothing/Publish":     0,
		"/parley.history.v1.Message/Publish":     0,
		"/grpc.health.v1.Health/Check":           0,
		"":                                       0,
		"/":                                      0,
	} {
		if got := access.Needs(method); got != want {
			t.Errorf("%s needs %v, want %v", method, got, want)
		}
	}
}

func newCredentials(t *testing.T, o access.Options) *access.Credentials {
	t.Helper()
	c, err := access.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestScopes(t *testing.T) {
	c := newCredentials(t, access.Options{
		ServiceTokens: []string{"the services' token"}, AdminToken: "the operator's token", BackEndToken: "the back end's token",
	})
	all := []access.Scope{access.Service, access.Admin, access.Publish, access.Read, access.Rooms, access.Users, 0, 99}
	for token, want := range map[string]string{
		"the services' token":  "service admin publish read rooms users",
		"the operator's token": "admin publish read rooms users",
		"the back end's token": "publish read rooms users",
	} {
		who, err := c.Caller(access.Proof{Token: token})
		if err != nil {
			t.Fatal(err)
		}
		var may []string
		for _, s := range all {
			err := access.Check(who, "/x/Y", s)
			if (err == nil) != who.May(s) || err != nil && errs.CodeOf(err) != errs.Forbidden {
				t.Errorf("%s: %v", who.Name, err)
			}
			if err == nil {
				may = append(may, access.ScopeName(s))
			}
		}
		if got := strings.Join(may, " "); got != want {
			t.Errorf("%s may %s, want %s", who.Name, got, want)
		}
	}
	if who := access.From(t.Context()); who.Name != "" || who.May(access.Read) || who.May(0) {
		t.Errorf("nobody is %+v", who)
	}
}

func TestCertificates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "callers.yaml")
	write(t, file, "callers: [{name: billing, certificate: billing.internal, scopes: [read]}]")
	spiffe, err := url.Parse("spiffe://parley/gateway")
	if err != nil {
		t.Fatal(err)
	}
	gateway := &x509.Certificate{URIs: []*url.URL{spiffe}}
	billing := &x509.Certificate{DNSNames: []string{"billing.internal"}}
	other := &x509.Certificate{DNSNames: []string{"other.internal"}}
	other.Subject.CommonName = "billing.internal"
	for _, c := range []struct {
		peers       []string
		certificate *x509.Certificate
		want        string
	}{
		{nil, gateway, "service"},
		{nil, billing, "billing"},
		{nil, other, "service"},
		{[]string{"spiffe://parley/gateway"}, gateway, "service"},
		{[]string{"spiffe://parley/gateway"}, billing, "billing"},
		{[]string{"spiffe://parley/gateway"}, other, ""},
	} {
		who, err := newCredentials(t, access.Options{File: file, Peers: c.peers, Development: true}).Caller(access.Proof{Certificate: c.certificate})
		if who.Name != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%v with %v: %q, %v", c.certificate.DNSNames, c.peers, who.Name, err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A token that was taken out of the file is not known any more, soon and
// without a restart, and a file that is broken takes none away.
func TestFileIsReadAnew(t *testing.T) {
	sum := sha256.Sum256([]byte("another token of a shop"))
	file := filepath.Join(t.TempDir(), "callers.yaml")
	write(t, file, "callers:\n- {name: shop, token: first token of a shop, scopes: [publish, read]}\n")
	c := newCredentials(t, access.Options{File: file})
	is := func(token, want string) bool {
		who, _ := c.Caller(access.Proof{Token: token})
		return who.Name == want
	}
	if !is("first token of a shop", "shop") || !is("another token of a shop", "") {
		t.Fatal("the file is not in force")
	}
	write(t, file, "callers:\n- {name: shop, token-sha256: "+hex.EncodeToString(sum[:])+", scopes: [read]}\n")
	for deadline := time.Now().Add(10 * time.Second); !is("first token of a shop", "") || !is("another token of a shop", "shop"); {
		if time.Now().After(deadline) {
			t.Fatal("the file is not read anew")
		}
		time.Sleep(10 * time.Millisecond) // between two looks; the condition ends the wait
	}
	write(t, file, "callers: oops\n")
	for until := time.Now().Add(1200 * time.Millisecond); time.Now().Before(until); {
		if !is("another token of a shop", "shop") {
			t.Fatal("a broken file took a token away")
		}
		time.Sleep(10 * time.Millisecond) // it is looked at once a second
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"callers: [{token: a token of nobody, scopes: [read]}]":                                                        "name: not 1 to 64 bytes",
		"callers: [{name: a, scopes: [read]}]":                                                                         "want one of token",
		"callers: [{name: a, token: a token of a b, certificate: b, scopes: [read]}]":                                  "want one of token",
		"callers: [{name: a, token: short, scopes: [read]}]":                                                           "shorter than 16",
		"callers: [{name: a, token: a token of sixteen}]":                                                              "scopes: none",
		"callers: [{name: a, token: a token of sixteen, scopes: [all]}]":                                               `"all" is no scope: want some of admin, publish`,
		"callers: [{name: a, token: a token of sixteen, scopes: [service]}]":                                           `"service" is no scope`,
		"callers: [{name: a, token: a token of sixteen, scope: [read]}]":                                               "scope",
		"callers: [{name: a, token-sha256: 12ab, scopes: [read]}]":                                                     "not 64 hexadecimal digits",
		"callers: [{name: a, token: &t a token of two callers, scopes: [read]}, {name: b, token: *t, scopes: [read]}]": `caller 2 ("b"): token: another caller has it`,
		"callers: [" + strings.Repeat("{name: a},", 1001) + "]":                                                        "more than 1000",
		"- a": "",
	} {
		err := access.ParseCallers([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "token of") {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
	if err := access.ParseCallers(nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	for want, o := range map[string]access.Options{
		"service-token: shorter than 16 characters": {ServiceTokens: []string{"secret"}},
		"admin-token: shorter":                      {AdminToken: "secret"},
		"backend-token: shorter":                    {BackEndToken: "secret"},
		"backend-token: the same as that of":        {BackEndToken: "one token for all", AdminToken: "one token for all"},
		"callers-file: ":                            {File: "/does/not/exist"},
	} {
		if _, err := access.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
