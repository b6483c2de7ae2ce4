package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/token"
)

// foreignKey is a key of an issuer.
type foreignKey struct {
	kid, alg string
	private  crypto.Signer
}

var foreignKeys = sync.OnceValue(func() map[string]foreignKey {
	rsaKey, err1 := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, err3 := ed25519.GenerateKey(rand.Reader)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			panic(err)
		}
	}
	return map[string]foreignKey{
		"RS256": {"rsa-1", "RS256", rsaKey}, "ES256": {"ec-1", "ES256", ecKey}, "EdDSA": {"ed-1", "EdDSA", edKey},
	}
})

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk writes a key's public half as an issuer publishes it.
func (k foreignKey) jwk(change object) object {
	j := object{"kid": k.kid, "use": "sig", "alg": k.alg}
	switch public := k.private.Public().(type) {
	case *rsa.PublicKey:
		j["kty"], j["n"], j["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		j["kty"], j["crv"], j["x"], j["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
	case ed25519.PublicKey:
		j["kty"], j["crv"], j["x"] = "OKP", "Ed25519", b64(public)
	}
	maps.Copy(j, change)
	return j
}

// sign signs the text of a token as RFC 7518, section 3 and RFC 8037 say.
func (k foreignKey) sign(text string) []byte {
	digest := sha256.Sum256([]byte(text))
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
		if err != nil {
			panic(err)
		}
		return signature
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	default:
		return ed25519.Sign(private.(ed25519.PrivateKey), []byte(text))
	}
}

// provider is an issuer's web server.
type provider struct {
	*httptest.Server
	requests atomic.Int64
	answer   atomic.Pointer[http.HandlerFunc]
}

func newProvider(t *testing.T, keys ...object) *provider {
	t.Helper()
	p := new(provider)
	p.publish(keys...)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		(*p.answer.Load())(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) publish(keys ...object) {
	document, err := json.Marshal(object{"keys": keys})
	if err != nil {
		panic(err)
	}
	p.say(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(document) })
}

func (p *provider) say(f http.HandlerFunc) { p.answer.Store(&f) }

const iss = "https://id.example.com/"

func (p *provider) options() token.IssuerOptions {
	return token.IssuerOptions{Name: "corp", Issuer: iss, JWKS: p.URL + "/keys", Audience: []string{"parley", "chat"}}
}

// clock can be set; it begins now.
type clock struct{ atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.Store(now.UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.Load()) }
func (c *clock) advance(d time.Duration) { c.Add(int64(d)) }

func issuers(t *testing.T, c *clock, list ...token.IssuerOptions) *token.Issuers {
	t.Helper()
	all, err := token.NewIssuers(list, token.IssuersOptions{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func foreignPayload(change object) object {
	payload := object{
		"iss": iss, "sub": "7", "aud": "parley", "preferred_username": "Ann", "roles": []string{"admin"},
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for claim, value := range change {
		if payload[claim] = value; value == nil {
			delete(payload, claim)
		}
	}
	return payload
}

func (k foreignKey) token(header, payload object) string {
	h := object{"alg": k.alg, "typ": "JWT", "kid": k.kid}
	maps.Copy(h, header)
	return forge(h, foreignPayload(payload), k.sign)
}

func TestIssuers(t *testing.T) {
	keys := foreignKeys()
	p := newProvider(t, keys["RS256"].jwk(nil), keys["ES256"].jwk(object{"alg": nil, "use": nil}), keys["EdDSA"].jwk(object{"key_ops": []string{"verify"}}))
	c := newClock()
	own := token.GenerateKey()
	plain := p.options()
	v := token.NewVerifier(token.VerifierOptions{Secret: []byte(secret), Issuers: issuers(t, c, plain), Now: c.now})
	v.SetKeys([]token.PublicKey{own.Public()})
	for alg, key := range keys {
		got, err := v.Verify(key.token(nil, nil))
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if got.UserID != "corp:7" || got.Username != "Ann" || len(got.Roles) != 0 || got.SessionID != "" ||
			!got.ExpiresAt.Equal(now.Add(time.Hour).Truncate(time.Second)) || got.IssuedAt.Unix() != now.Unix() {
			t.Errorf("%s: %+v", alg, got)
		}
	}
	if n := p.requests.Load(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
	// The other vouchers go on beside them.
	ours, err := token.NewSigner(own).Sign(alice())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(ours); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(forge(object{"alg": "HS256"}, object{"sub": "7"}, withSecret(secret))); err != nil {
		t.Error(err)
	}
}

func TestIssuerTokensRefused(t *testing.T) {
	keys := foreignKeys()
	rs, es, ed := keys["RS256"], keys["ES256"], keys["EdDSA"]
	p := newProvider(t, rs.jwk(nil), es.jwk(nil), ed.jwk(nil),
		ed.jwk(object{"kid": "for encryption", "use": "enc"}), ed.jwk(object{"kid": "to sign", "key_ops": []string{"sign"}}),
		rs.jwk(object{"kid": "twice"}), rs.jwk(object{"kid": "twice"}),
		object{"kty": "oct", "kid": "symmetric", "alg": "HS256", "k": b64([]byte(secret))},
		rs.jwk(object{"kid": "ps", "alg": "PS256"}), rs.jwk(object{"kid": ""}))
	c := newClock()
	own := token.GenerateKey()
	v := token.NewVerifier(token.VerifierOptions{Secret: []byte("another secret of thirty-two bytes"), Issuers: issuers(t, c, p.options()), Now: c.now})
	v.SetKeys([]token.PublicKey{own.Public()})
	without := token.NewVerifier(token.VerifierOptions{Issuers: issuers(t, c, p.options()), Now: c.now})
	mallory, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	evil := foreignKey{"rsa-1", "RS256", mallory}
	der, err := x509.MarshalPKIXPublicKey(rs.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	document, err := json.Marshal(rs.jwk(nil))
	if err != nil {
		t.Fatal(err)
	}
	none := func(string) []byte { return nil }
	elsewhere := newProvider(t, evil.jwk(nil), evil.jwk(object{"kid": "mallory"}))
	good := foreignPayload(nil)
	for name, raw := range map[string]string{
		"none":                      forge(object{"alg": "none"}, good, none),
		"none and a kid":            forge(object{"alg": "none", "kid": "rsa-1"}, good, none),
		"None":                      forge(object{"alg": "None", "kid": "rsa-1"}, good, none),
		"no signature":              forge(object{"alg": "RS256", "kid": "rsa-1"}, good, none),
		"HS256 with the PEM":        forge(object{"alg": "HS256", "kid": "rsa-1"}, good, withSecret(string(publicPEM))),
		"HS256 with the DER":        forge(object{"alg": "HS256", "kid": "rsa-1"}, good, withSecret(string(der))),
		"HS256 with the JWK":        forge(object{"alg": "HS256", "kid": "rsa-1"}, good, withSecret(string(document))),
		"HS256 with nothing":        forge(object{"alg": "HS256", "kid": "rsa-1"}, good, withSecret("")),
		"HS256, a symmetric key":    forge(object{"alg": "HS256", "kid": "symmetric"}, good, withSecret(secret)),
		"RS256 with the EC key":     es.token(object{"alg": "RS256"}, nil),
		"ES256 with the RSA key":    rs.token(object{"alg": "ES256"}, nil),
		"EdDSA with the RSA key":    rs.token(object{"alg": "EdDSA"}, nil),
		"RS256 named as the EC's":   rs.token(object{"kid": es.kid}, nil),
		"RS512":                     rs.token(object{"alg": "RS512"}, nil),
		"PS256":                     rs.token(object{"alg": "PS256", "kid": "ps"}, nil),
		"another's key":             evil.token(nil, nil),
		"another's kid":             evil.token(object{"kid": "mallory"}, nil),
		"a key for encryption":      ed.token(object{"kid": "for encryption"}, nil),
		"a key to sign":             ed.token(object{"kid": "to sign"}, nil),
		"a kid that is there twice": rs.token(object{"kid": "twice"}, nil),
		"kid empty":                 rs.token(object{"kid": ""}, nil),
		"kid a number":              rs.token(object{"kid": 1}, nil),
		"kid a list":                rs.token(object{"kid": []string{"rsa-1"}}, nil),
		"kid a path":                rs.token(object{"kid": "../../../../dev/null"}, nil),
		"kid SQL":                   rs.token(object{"kid": "rsa-1' UNION SELECT 'x"}, nil),
		"kid with NUL":              rs.token(object{"kid": "rsa-1\x00"}, nil),
		"kid in capitals":           rs.token(object{"kid": "RSA-1"}, nil),
		"kid huge":                  rs.token(object{"kid": strings.Repeat("x", 4<<10)}, nil),
		"no kid":                    forge(object{"alg": "RS256"}, good, rs.sign),
		"kid twice in the header":   forge(`{"alg":"RS256","kid":"rsa-1","kid":"mallory"}`, good, evil.sign),
		"alg twice in the header":   forge(`{"alg":"RS256","kid":"rsa-1","alg":"none"}`, good, none),
		"its own jwk":               evil.token(object{"kid": "mallory", "jwk": evil.jwk(object{"kid": "mallory"})}, nil),
		"its own jwk, known kid":    evil.token(object{"jwk": evil.jwk(nil)}, nil),
		"jku":                       evil.token(object{"jku": elsewhere.URL}, nil),
		"jku, unknown kid":          evil.token(object{"kid": "mallory", "jku": elsewhere.URL}, nil),
		"x5u":                       evil.token(object{"x5u": elsewhere.URL}, nil),
		"x5c":                       evil.token(object{"x5c": []string{base64.StdEncoding.EncodeToString(der)}}, nil),
		"crit":                      rs.token(object{"crit": []string{"exp"}}, nil),
		"expired":                   rs.token(nil, object{"exp": now.Add(-time.Minute).Unix()}),
		"no end":                    rs.token(nil, object{"exp": nil}),
		"nbf":                       rs.token(nil, object{"nbf": now.Add(time.Minute).Unix()}),
		"iat":                       rs.token(nil, object{"iat": now.Add(time.Minute).Unix()}),
		"exp a word":                rs.token(nil, object{"exp": "never"}),
		"another audience":          rs.token(nil, object{"aud": "billing"}),
		"other audiences":           rs.token(nil, object{"aud": []string{"billing", "parley2"}}),
		"no audience":               rs.token(nil, object{"aud": nil}),
		"audience a number":         rs.token(nil, object{"aud": 7}),
		"another issuer":            rs.token(nil, object{"iss": "https://evil.example.com/"}),
		"issuer without the slash":  rs.token(nil, object{"iss": strings.TrimSuffix(iss, "/")}),
		"issuer in capitals":        rs.token(nil, object{"iss": strings.ToUpper(iss)}),
		"no issuer":                 rs.token(nil, object{"iss": nil}),
		"our issuer":                ed.token(nil, object{"iss": "parley", "sid": "s_1", "username": "alice"}),
		"our issuer, our kid":       ed.token(object{"kid": own.ID()}, object{"iss": "parley", "sid": "s_1", "username": "alice"}),
		"our key, its issuer":       forge(object{"alg": "EdDSA", "kid": own.ID()}, good, withKey(t, own)),
		"no sub":                    rs.token(nil, object{"sub": nil}),
		"sub empty":                 rs.token(nil, object{"sub": ""}),
		"sub a number":              rs.token(nil, object{"sub": 7}),
		"sub too long":              rs.token(nil, object{"sub": strings.Repeat("x", 124)}),
		"sub with control":          rs.token(nil, object{"sub": "a\nb"}),
		"oversized":                 rs.token(nil, object{"more": strings.Repeat("x", 8<<10)}),
		"four parts":                rs.token(nil, nil) + ".x",
		"padded":                    rs.token(nil, nil) + "=",
		"JWE":                       strings.Repeat(rs.token(nil, nil)+".", 2),
	} {
		got, err := v.Verify(raw)
		if errs.CodeOf(err) != errs.Unauthenticated || got.UserID != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if _, err := without.Verify(raw); err == nil {
			t.Errorf("%s: taken by a deployment without a secret", name)
		}
	}
	if n := elsewhere.requests.Load(); n != 0 {
		t.Errorf("a URL of a token's header was asked %d times", n)
	}
	// The tokens that differ in nothing are good.
	if _, err := v.Verify(rs.token(object{"typ": "at+jwt", "jku": elsewhere.URL}, object{"aud": []string{"billing", "chat"}})); err != nil {
		t.Error(err)
	}
}

func TestClaimPaths(t *testing.T) {
	key := foreignKeys()["ES256"]
	p := newProvider(t, key.jwk(nil))
	id := func(o *token.IssuerOptions, paths token.ClaimPaths) { o.Claims = paths }
	ref := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		change  func(*token.IssuerOptions)
		payload object
		want    token.Claims // only names
	}{
		"defaults":     {nil, nil, token.Claims{UserID: "corp:7", Username: "Ann"}},
		"name":         {nil, object{"preferred_username": nil, "name": "Ann B."}, token.Claims{UserID: "corp:7", Username: "Ann B."}},
		"no name":      {nil, object{"preferred_username": nil}, token.Claims{UserID: "corp:7", Username: "7"}},
		"a blank name": {nil, object{"preferred_username": " ", "name": 7}, token.Claims{UserID: "corp:7", Username: "7"}},
		"a long name": {nil, object{"preferred_username": strings.Repeat("é", 40)},
			token.Claims{UserID: "corp:7", Username: strings.Repeat("é", 32)}},
		"paths": {func(o *token.IssuerOptions) {
			id(o, token.ClaimPaths{ID: "user.id", Name: "user.names.nick", Roles: "realm_access.roles"})
		},
			object{"user": object{"id": "x", "names": object{"nick": "Nick"}}, "realm_access": object{"roles": []string{"a", "b"}}},
			token.Claims{UserID: "corp:x", Username: "Nick", Roles: []string{"a", "b"}}},
		"a name with dots": {func(o *token.IssuerOptions) { id(o, token.ClaimPaths{Roles: "https://example.com/roles"}) },
			object{"https://example.com/roles": []string{"a"}}, token.Claims{UserID: "corp:7", Username: "Ann", Roles: []string{"a"}}},
		"roles in a string": {func(o *token.IssuerOptions) { id(o, token.ClaimPaths{Roles: "scope"}) },
			object{"scope": "a  b"}, token.Claims{UserID: "corp:7", Username: "Ann", Roles: []string{"a", "b"}}},
		"roles missing": {func(o *token.IssuerOptions) { id(o, token.ClaimPaths{Roles: "x.y"}) }, object{"x": 1},
			token.Claims{UserID: "corp:7", Username: "Ann"}},
		"roles renamed": {func(o *token.IssuerOptions) {
			id(o, token.ClaimPaths{Roles: "roles"})
			o.Roles = map[string]string{"chat-admins": "admin", "chat-ops": "admin"}
		}, object{"roles": []string{"chat-admins", "chat-ops", "admin", "moderator"}},
			token.Claims{UserID: "corp:7", Username: "Ann", Roles: []string{"admin"}}},
		"another prefix": {func(o *token.IssuerOptions) { o.Prefix = ref("c:") }, nil, token.Claims{UserID: "c:7", Username: "Ann"}},
		"no prefix":      {func(o *token.IssuerOptions) { o.Prefix = ref("") }, nil, token.Claims{UserID: "7", Username: "Ann"}},
	} {
		o := p.options()
		if c.change != nil {
			c.change(&o)
		}
		clock := newClock()
		got, err := token.NewVerifier(token.VerifierOptions{Issuers: issuers(t, clock, o), Now: clock.now}).Verify(key.token(nil, c.payload))
		if err != nil || got.UserID != c.want.UserID || got.Username != c.want.Username || !slices.Equal(got.Roles, c.want.Roles) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	o := p.options()
	o.Claims.Roles = "roles"
	clock := newClock()
	v := token.NewVerifier(token.VerifierOptions{Issuers: issuers(t, clock, o), Now: clock.now})
	checkRefusal(t, v, key.token(nil, object{"roles": []any{1}}), "token is not valid: roles: is not an array of strings")
}

// A key that is new is found at once, one that is gone is not good any more,
// and made-up kids cost the issuer a request in 10 s.
func TestKeysChange(t *testing.T) {
	rs, ed := foreignKeys()["RS256"], foreignKeys()["EdDSA"]
	p := newProvider(t, rs.jwk(nil))
	c := newClock()
	v := token.NewVerifier(token.VerifierOptions{Issuers: issuers(t, c, p.options()), Now: c.now})
	good := func(raw string) bool {
		_, err := v.Verify(raw)
		return err == nil
	}
	old, new := rs.token(nil, nil), ed.token(nil, nil)
	if !good(old) || good(new) {
		t.Fatal("not the first keys")
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if good(rs.token(object{"kid": rand.Text()}, nil)) {
				t.Error("a made-up kid is good")
			}
		})
	}
	wg.Wait()
	if n := p.requests.Load(); n != 1 {
		t.Errorf("%d requests at once", n)
	}
	p.publish(ed.jwk(nil))
	if good(new) || !good(old) {
		t.Error("the keys were read too soon")
	}
	c.advance(11 * time.Second)
	for range 50 {
		wg.Go(func() {
			if !good(new) {
				t.Error("a new key is not found")
			}
		})
	}
	wg.Wait()
	if good(old) {
		t.Error("a key that is gone is good")
	}
	if n := p.requests.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// Keys stay good for a day while they cannot be read anew, whatever the answer
// is instead.
func TestIssuerOutOfReach(t *testing.T) {
	key := foreignKeys()["EdDSA"]
	p := newProvider(t, key.jwk(nil))
	c := newClock()
	v := token.NewVerifier(token.VerifierOptions{Issuers: issuers(t, c, p.options()), Now: c.now})
	late := key.token(nil, object{"exp": now.Add(100 * time.Hour).Unix()})
	if _, err := v.Verify(late); err != nil {
		t.Fatal(err)
	}
	huge := strings.Repeat(" ", 300<<10)
	many := make([]object, 101)
	for i := range many {
		many[i] = key.jwk(nil)
	}
	elsewhere := newProvider(t, foreignKeys()["RS256"].jwk(nil))
	for name, answer := range map[string]http.HandlerFunc{
		"an error":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"not found":  http.NotFound,
		"not JSON":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"no keys":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`) },
		"too large":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`+huge) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"too many":   func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(object{"keys": many}) },
		"an RSA key of 1024 bits": func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(object{"keys": []object{foreignKeys()["RS256"].jwk(object{"n": b64(make([]byte, 127)) + "AQ"})}})
		},
		"an exponent of 1": func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(object{"keys": []object{foreignKeys()["RS256"].jwk(object{"e": "AQ"})}})
		},
		"a point off the curve": func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(object{"keys": []object{foreignKeys()["ES256"].jwk(object{"x": b64(make([]byte, 32))})}})
		},
		"half a connection": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	} {
		p.say(answer)
		c.advance(time.Hour)
		before := p.requests.Load()
		if _, err := v.Verify(key.token(object{"kid": "new"}, nil)); errs.CodeOf(err) != errs.Unauthenticated {
			t.Errorf("%s: an unknown key: %v", name, err)
		}
		if p.requests.Load() == before {
			t.Errorf("%s: nobody asked", name)
		}
		if _, err := v.Verify(late); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if elsewhere.requests.Load() > 0 {
		t.Error("a redirect was followed")
	}
	c.Store(now.Add(24*time.Hour + time.Minute).UnixNano())
	_, err := v.Verify(late)
	if e := errs.From(err); e == nil || e.Code != errs.Unavailable || e.RetryAfter <= 0 {
		t.Errorf("with keys of yesterday: %v", err)
	}
	p.publish(key.jwk(nil))
	c.advance(time.Minute)
	if _, err := v.Verify(late); err != nil {
		t.Errorf("the issuer is back: %v", err)
	}
}

// An issuer that does not answer is waited for, but not for long.
func TestIssuerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, err := token.NewIssuers([]token.IssuerOptions{{Name: "corp", Issuer: iss, JWKS: "http://127.0.0.1:1", Audience: []string{"parley"}}},
			token.IssuersOptions{Client: &http.Client{Transport: hangs{}}})
		if err != nil {
			t.Fatal(err)
		}
		v := token.NewVerifier(token.VerifierOptions{Issuers: all})
		began := time.Now()
		for range 3 {
			if _, err := v.Verify(foreignKeys()["EdDSA"].token(nil, nil)); errs.CodeOf(err) != errs.Unavailable {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

type hangs struct{}

func (hangs) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestIssuersRun(t *testing.T) {
	key := foreignKeys()["EdDSA"]
	document, err := json.Marshal(object{"keys": []object{key.jwk(nil)}})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		var down atomic.Bool
		all, err := token.NewIssuers([]token.IssuerOptions{{Name: "corp", Issuer: iss, JWKS: "http://127.0.0.1:1", Audience: []string{"parley"}}},
			token.IssuersOptions{Client: &http.Client{Transport: roundTrip(func() *http.Response {
				requests.Add(1)
				if down.Load() {
					return &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody}
				}
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(document)))}
			})}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- all.Run(ctx) }()
		at := func(d time.Duration, want int64) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n := requests.Load(); n != want {
				t.Errorf("%d requests, want %d", n, want)
			}
		}
		at(time.Second, 1)
		at(10*time.Minute, 2)
		down.Store(true)
		at(10*time.Minute, 3)
		at(time.Minute, 9) // again and again
		down.Store(false)
		at(10*time.Second, 10)
		at(9*time.Minute, 10)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

type roundTrip func() *http.Response

func (f roundTrip) RoundTrip(*http.Request) (*http.Response, error) { return f(), nil }
