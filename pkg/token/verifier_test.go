package token_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/token"
)

const secret = "a secret of thirty-two bytes or more"

var now = time.Date(2026, 5, 4, 3, 2, 1, 987_000_000, time.UTC)

func newVerifier(keys ...token.PublicKey) *token.Verifier {
	v := token.NewVerifier(token.VerifierOptions{Secret: []byte(secret), Now: func() time.Time { return now }})
	v.SetKeys(keys)
	return v
}

func alice() token.Claims {
	return token.Claims{
		UserID:    "u_alice",
		SessionID: "s_1",
		Username:  "alice",
		Roles:     []string{"user", "admin"},
		IssuedAt:  now,
		ExpiresAt: now.Add(time.Hour).Truncate(time.Second),
	}
}

type object = map[string]any

// forge writes a token by hand, so that it can be wrong in any way.
func forge(header, payload any, sign func(text string) []byte) string {
	segment := func(v any) string {
		if raw, ok := v.(string); ok {
			return base64.RawURLEncoding.EncodeToString([]byte(raw))
		}
		data, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	text := segment(header) + "." + segment(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
}

func withSecret(key string) func(string) []byte {
	return func(text string) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
}

func withKey(t *testing.T, key token.PrivateKey) func(string) []byte {
	parsed, err := x509.ParsePKCS8PrivateKey(key.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) []byte { return ed25519.Sign(parsed.(ed25519.PrivateKey), []byte(text)) }
}

func ownPayload(change object) object {
	payload := object{
		"iss": "parley", "sub": "u_alice", "sid": "s_1", "username": "alice", "roles": []string{"user"},
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for claim, value := range change {
		if payload[claim] = value; value == nil {
			delete(payload, claim)
		}
	}
	return payload
}

func TestSignAndVerify(t *testing.T) {
	key := token.GenerateKey()
	want := alice()
	raw, err := token.NewSigner(key).Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := newVerifier(token.GenerateKey().Public(), key.Public()).Verify(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got.UserID != want.UserID || got.SessionID != want.SessionID || got.Username != want.Username ||
		!slices.Equal(got.Roles, want.Roles) || !got.IssuedAt.Equal(want.IssuedAt) || !got.ExpiresAt.Equal(want.ExpiresAt) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestSignRefusesWhatWouldNotVerify(t *testing.T) {
	signer := token.NewSigner(token.GenerateKey())
	for name, change := range map[string]func(*token.Claims){
		"no user":           func(c *token.Claims) { c.UserID = "" },
		"no session":        func(c *token.Claims) { c.SessionID = "" },
		"no username":       func(c *token.Claims) { c.Username = "" },
		"no end":            func(c *token.Claims) { c.ExpiresAt = time.Time{} },
		"no start":          func(c *token.Claims) { c.IssuedAt = time.Time{} },
		"too many roles":    func(c *token.Claims) { c.Roles = slices.Repeat([]string{"a long name of a role"}, 500) },
		"control in a name": func(c *token.Claims) { c.Username = "a\nb" },
	} {
		c := alice()
		change(&c)
		if raw, err := signer.Sign(c); err == nil {
			t.Errorf("%s: signed as %q", name, raw)
		}
	}
}

func TestOwnTokensRefused(t *testing.T) {
	key, other := token.GenerateKey(), token.GenerateKey()
	v := newVerifier(key.Public())
	header := func(change object) object {
		h := object{"alg": "EdDSA", "typ": "JWT", "kid": key.ID()}
		maps.Copy(h, change)
		if h["kid"] == nil {
			delete(h, "kid")
		}
		return h
	}
	good := withKey(t, key)
	public := string(key.Public().Marshal())
	var jwk struct{ X string }
	if err := json.Unmarshal([]byte(public), &jwk); err != nil {
		t.Fatal(err)
	}
	x, err := base64.RawURLEncoding.DecodeString(jwk.X)
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(string) []byte { return nil }
	const invalid, expired, early = "token is not valid", "token has expired", "token is not valid yet"
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }

	for _, c := range []struct {
		name, raw, want string
	}{
		{"control: as it should be", forge(header(nil), ownPayload(nil), good), ""},
		{"empty", "", invalid},
		{"not a token", "hello", invalid},
		{"two segments", "e30.e30", invalid},
		{"four segments", forge(header(nil), ownPayload(nil), good) + ".e30", invalid},
		{"padding", forge(header(nil), ownPayload(nil), good) + "==", invalid},
		{"header is no object", forge(`[]`, ownPayload(nil), good), invalid},
		{"payload is no object", forge(header(nil), `"sub"`, good), invalid},
		{"payload is not JSON", forge(header(nil), `{`, good), invalid},

		{"alg none", forge(header(object{"alg": "none"}), ownPayload(nil), nothing), invalid},
		{"alg None", forge(header(object{"alg": "None"}), ownPayload(nil), nothing), invalid},
		{"alg none with a signature", forge(header(object{"alg": "none"}), ownPayload(nil), good), invalid},
		{"no alg", forge(object{"kid": key.ID()}, ownPayload(nil), good), invalid},
		{"alg of another kind", forge(header(object{"alg": 1}), ownPayload(nil), good), invalid},
		{"alg in other letters", forge(header(object{"alg": "eddsa"}), ownPayload(nil), good), invalid},
		{"alg RS256", forge(header(object{"alg": "RS256"}), ownPayload(nil), good), invalid},
		{"HS256 with the public key's bytes", forge(header(object{"alg": "HS256"}), ownPayload(nil), withSecret(string(x))), invalid},
		{"HS256 with the published key", forge(header(object{"alg": "HS256"}), ownPayload(nil), withSecret(public)), invalid},
		{"HS512 with the secret", forge(header(object{"alg": "HS512"}), ownPayload(nil), withSecret(secret)), invalid},
		{"EdDSA signed with the secret", forge(header(nil), ownPayload(nil), withSecret(secret)), invalid},

		{"another key", forge(header(nil), ownPayload(nil), withKey(t, other)), invalid},
		{"another key under its own kid", forge(header(object{"kid": other.ID()}), ownPayload(nil), withKey(t, other)), invalid},
		{"another key in the header", forge(header(object{"kid": other.ID(), "jwk": json.RawMessage(other.Public().Marshal())}), ownPayload(nil), withKey(t, other)), invalid},
		{"no kid", forge(header(object{"kid": nil}), ownPayload(nil), good), invalid},
		{"empty kid", forge(header(object{"kid": ""}), ownPayload(nil), good), invalid},
		{"kid a number", forge(header(object{"kid": 0}), ownPayload(nil), good), invalid},
		{"kid a list", forge(header(object{"kid": []string{key.ID()}}), ownPayload(nil), good), invalid},
		{"kid a path", forge(header(object{"kid": "../" + key.ID()}), ownPayload(nil), good), invalid},
		{"kid a wildcard", forge(header(object{"kid": "*"}), ownPayload(nil), good), invalid},
		{"critical extension", forge(header(object{"crit": []string{"b64"}, "b64": false}), ownPayload(nil), good), invalid},
		{"no signature", forge(header(nil), ownPayload(nil), nothing), invalid},

		{"expired", forge(header(nil), ownPayload(object{"exp": at(-6 * time.Second)}), good), expired},
		{"expired within the leeway", forge(header(nil), ownPayload(object{"exp": at(-4 * time.Second)}), good), ""},
		{"expired in 1970", forge(header(nil), ownPayload(object{"exp": 0}), good), expired},
		{"no end", forge(header(nil), ownPayload(object{"exp": nil}), good), invalid},
		{"end is a string", forge(header(nil), ownPayload(object{"exp": "tomorrow"}), good), "token is not valid: exp: is not a number"},
		{"end is out of bounds", forge(header(nil), ownPayload(object{"exp": 1e300}), good), "token is not valid: exp: is not a time"},
		{"end is negative", forge(header(nil), ownPayload(object{"exp": -1}), good), "token is not valid: exp: is not a time"},
		{"issued in the future", forge(header(nil), ownPayload(object{"iat": at(7 * time.Second)}), good), early},
		{"issued within the leeway", forge(header(nil), ownPayload(object{"iat": at(5 * time.Second)}), good), ""},
		{"not issued", forge(header(nil), ownPayload(object{"iat": nil}), good), invalid},
		{"not yet", forge(header(nil), ownPayload(object{"nbf": at(time.Minute)}), good), early},

		{"another issuer", forge(header(nil), ownPayload(object{"iss": "someone"}), good), invalid},
		{"no issuer", forge(header(nil), ownPayload(object{"iss": nil}), good), invalid},
		{"issuer a list", forge(header(nil), ownPayload(object{"iss": []string{"parley"}}), good), "token is not valid: iss: is not a string"},
		{"no session", forge(header(nil), ownPayload(object{"sid": nil}), good), invalid},
		{"userId does not stand for sub", forge(header(nil), ownPayload(object{"sub": nil, "userId": "u_alice"}), good), "token is not valid: sub: is missing"},
		{"roles a string", forge(header(nil), ownPayload(object{"roles": "admin"}), good), "token is not valid: roles: is not an array of strings"},
	} {
		t.Run(c.name, func(t *testing.T) { checkRefusal(t, v, c.raw, c.want) })
	}

	t.Run("too long", func(t *testing.T) {
		raw := forge(header(nil), ownPayload(object{"more": strings.Repeat("x", token.MaxLength)}), good)
		checkRefusal(t, v, raw, "token is longer than 8192 bytes")
	})
	t.Run("key taken away", func(t *testing.T) {
		v := newVerifier(key.Public())
		v.SetKeys([]token.PublicKey{other.Public()})
		checkRefusal(t, v, forge(header(nil), ownPayload(nil), good), invalid)
	})
	t.Run("expired, but enough to sign out", func(t *testing.T) {
		got, err := v.VerifyEnded(forge(header(nil), ownPayload(object{"exp": at(-time.Hour)}), good))
		if err != nil || got.SessionID != "s_1" {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
}

func checkRefusal(t *testing.T, v *token.Verifier, raw, want string) {
	t.Helper()
	got, err := v.Verify(raw)
	if want == "" {
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("accepted as %+v", got)
	}
	if coded := errs.From(err); coded.Code != errs.Unauthenticated || coded.Message != want {
		t.Fatalf("got %s %q, want unauthenticated %q", coded.Code, coded.Message, want)
	}
	if got.UserID != "" {
		t.Fatalf("a refused token tells %+v", got)
	}
}

func TestForeignTokens(t *testing.T) {
	v := newVerifier(token.GenerateKey().Public())
	header := object{"alg": "HS256", "typ": "JWT"}
	claims := func(id, name string, roles ...string) token.Claims {
		return token.Claims{UserID: id, Username: name, Roles: roles}
	}
	uuid := "0b5a1f0e-5f0c-4c8e-9d0b-2f4c4f2f8f11"
	for _, c := range []struct {
		name    string
		payload object
		want    token.Claims
		refusal string
	}{
		{"userId", object{"userId": "7", "username": "bob", "roles": []string{"admin"}}, claims("7", "bob", "admin"), ""},
		{"sub", object{"sub": "7", "username": "bob"}, claims("7", "bob"), ""},
		{"userId before sub", object{"sub": "8", "userId": "7", "username": "bob"}, claims("7", "bob"), ""},
		{"null is not there", object{"sub": "8", "userId": nil, "username": nil, "roles": nil, "exp": nil}, claims("8", "8"), ""},
		{"no username", object{"userId": "bob@example.org"}, claims("bob@example.org", "bob@example.org"), ""},
		{"no username and a long id", object{"userId": uuid}, claims(uuid, uuid[:32]), ""},
		{"username in NFD", object{"userId": "7", "username": "Zoe\u0308"}, claims("7", "Zo\u00eb"), ""},
		{"32 characters of 4 bytes", object{"userId": "7", "username": strings.Repeat("😀", 32)}, claims("7", strings.Repeat("😀", 32)), ""},
		{"any issuer, audience and session", object{"userId": "7", "iss": "shop", "aud": "parley", "sid": "s_1"}, claims("7", "7"), ""},

		{"no id", object{"username": "bob"}, token.Claims{}, "sub: is missing"},
		{"empty id", object{"userId": "", "username": "bob"}, token.Claims{}, "userId: is missing"},
		{"id a number", object{"userId": 7}, token.Claims{}, "userId: is not a string"},
		{"id too long", object{"userId": strings.Repeat("x", 129)}, token.Claims{}, "userId: is longer than 128 bytes"},
		{"id with a control character", object{"sub": "a\x00b"}, token.Claims{}, "sub: has control characters"},
		{"username too long", object{"userId": "7", "username": strings.Repeat("x", 33)}, token.Claims{}, "username: is longer than 32 characters"},
		{"username with a control character", object{"userId": "7", "username": "a\u0085b"}, token.Claims{}, "username: has control characters"},
		{"username empty", object{"userId": "7", "username": ""}, token.Claims{}, "username: is missing"},
		{"username a number", object{"userId": "7", "username": 1}, token.Claims{}, "username: is not a string"},
		{"roles a string", object{"userId": "7", "roles": "admin"}, token.Claims{}, "roles: is not an array of strings"},
		{"roles of numbers", object{"userId": "7", "roles": []any{"user", 1}}, token.Claims{}, "roles: is not an array of strings"},
		{"nbf a string", object{"userId": "7", "nbf": "now"}, token.Claims{}, "nbf: is not a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := forge(header, c.payload, withSecret(secret))
			if c.refusal != "" {
				checkRefusal(t, v, raw, "token is not valid: "+c.refusal)
				return
			}
			got, err := v.Verify(raw)
			if err != nil {
				t.Fatal(err)
			}
			if got.UserID != c.want.UserID || got.Username != c.want.Username || !slices.Equal(got.Roles, c.want.Roles) ||
				got.SessionID != "" || !got.ExpiresAt.IsZero() || !got.IssuedAt.IsZero() {
				t.Fatalf("got %+v, want %+v", got, c.want)
			}
		})
	}

	bob := object{"userId": "7"}
	checkRefusal(t, v, forge(header, bob, withSecret("another secret of thirty-two bytes")), "token is not valid")
	checkRefusal(t, v, forge(header, bob, withSecret("")), "token is not valid")
	checkRefusal(t, v, forge(header, object{"userId": "7", "exp": now.Unix() - 60}, withSecret(secret)), "token has expired")
	checkRefusal(t, v, forge(header, object{"userId": "7", "iat": now.Unix() + 60}, withSecret(secret)), "token is not valid yet")
	checkRefusal(t, v, forge(object{"alg": "HS256", "kid": "any"}, bob, withSecret(secret)), "")

	without := token.NewVerifier(token.VerifierOptions{})
	checkRefusal(t, without, forge(header, bob, withSecret(secret)), "token is not valid")
	checkRefusal(t, without, forge(header, bob, withSecret("")), "token is not valid")
}

func TestWeakSecret(t *testing.T) {
	for length, weak := range map[int]bool{0: true, 31: true, 32: false, 100: false} {
		if got := token.WeakSecret(make([]byte, length)); got != weak {
			t.Errorf("%d bytes: %t", length, got)
		}
	}
}

func TestSetKeysWhileInUse(t *testing.T) {
	key := token.GenerateKey()
	raw, err := token.NewSigner(key).Sign(alice())
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(key.Public())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if _, err := v.Verify(raw); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 200 {
		v.SetKeys([]token.PublicKey{token.GenerateKey().Public(), key.Public()})
	}
	wg.Wait()
}

func FuzzVerify(f *testing.F) {
	key := token.GenerateKey()
	raw, err := token.NewSigner(key).Sign(alice())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.TrimPrefix(raw, "e"))
	f.Add(forge(object{"alg": "HS256"}, object{"userId": "7"}, withSecret("guess")))
	f.Add("..")
	v := newVerifier(key.Public())
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := v.Verify(raw)
		if err == nil {
			t.Fatalf("accepted %q as %+v", raw, c)
		}
		if errs.CodeOf(err) != errs.Unauthenticated {
			t.Fatal(err)
		}
	})
}
