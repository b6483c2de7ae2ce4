package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-im/parley/pkg/frame"
	"github.com/parley-im/parley/pkg/token"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
)

// testBadTokens signs in with tokens that are not good.
func testBadTokens(t *testing.T, b *badInput) {
	now := time.Now()
	mallory := func() claims { return claims{"sub": "mallory", "exp": now.Add(time.Hour).Unix()} }
	own := func(issued, expires time.Time) token.Claims {
		return token.Claims{UserID: "mallory", SessionID: "s_mallory", Username: "mallory", IssuedAt: issued, ExpiresAt: expires}
	}
	sign := func(c token.Claims) string {
		signed, err := token.NewSigner(token.GenerateKey()).Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	with := func(name string, value any) string {
		c := mallory()
		c[name] = value
		return signHS256(t, secret, c)
	}
	signed := func(method jwt.SigningMethod, header map[string]any, key any) string {
		j := jwt.NewWithClaims(method, mallory())
		for name, value := range header {
			j.Header[name] = value
		}
		text, err := j.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	// The published key, with which an attacker may try what should be secret.
	kid, public := publicKey(t, b.s.URLs[0])
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := b.s.Token(t, "mallory")
	parts := strings.Split(good, ".")
	forged := strings.Split(with("sub", "bystander"), ".")
	if c := client.Dial(t, b.s.URLs[0], client.Options{}); c.SignIn(good) == nil { // the rest differs from this in one thing each
		t.Fatal("not signed in")
	}
	for name, bad := range map[string]string{
		"no token":                "hello",
		"dots":                    "..",
		"a space":                 " ",
		"10 KiB":                  strings.Repeat("x", 10<<10),
		"10 KiB, signed":          with("more", strings.Repeat("x", 10<<10)),
		"alg none":                signed(jwt.SigningMethodNone, nil, jwt.UnsafeAllowNoneSignatureType),
		"alg none, own kid":       signed(jwt.SigningMethodNone, map[string]any{"kid": kid}, jwt.UnsafeAllowNoneSignatureType),
		"alg None":                base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None","typ":"JWT"}`)) + "." + parts[1] + ".",
		"no signature":            parts[0] + "." + parts[1] + ".",
		"another's signature":     parts[0] + "." + parts[1] + "." + forged[2],
		"another payload":         parts[0] + "." + forged[1] + "." + parts[2],
		"four parts":              good + ".x",
		"another key":             sign(own(now, now.Add(time.Hour))),
		"HS256 with another":      signHS256(t, []byte("another secret that is long enough"), mallory()),
		"HS256 with nothing":      signHS256(t, []byte{}, mallory()),
		"HS256 with our JWK":      signHS256(t, public, mallory()),
		"HS256, JWK and kid":      signed(jwt.SigningMethodHS256, map[string]any{"kid": kid}, public),
		"HS512 with the secret":   signed(jwt.SigningMethodHS512, nil, secret),
		"RS256":                   signed(jwt.SigningMethodRS256, nil, rsaKey),
		"RS256, own kid":          signed(jwt.SigningMethodRS256, map[string]any{"kid": kid}, rsaKey),
		"expired":                 with("exp", now.Add(-time.Hour).Unix()),
		"expired long ago":        with("exp", 1),
		"not yet valid":           with("nbf", now.Add(time.Hour).Unix()),
		"issued in the future":    with("iat", now.Add(time.Hour).Unix()),
		"exp is text":             with("exp", "tomorrow"),
		"sub is a number":         with("sub", 7),
		"sub is empty":            with("sub", ""),
		"sub with control":        with("sub", "a\x00b"),
		"sub of 129 bytes":        with("sub", strings.Repeat("x", 129)),
		"username too long":       with("username", strings.Repeat("x", 33)),
		"username with control":   with("username", "a\nb"),
		"roles are a word":        with("roles", "admin"),
		"a resume token":          resumeToken(t, b.s.URLs[0], good),
		"quotes around a token":   `"` + good + `"`,
		"Bearer before the token": "Bearer " + good,
	} {
		t.Run(name, func(t *testing.T) {
			for _, encoding := range []frame.Encoding{frame.JSON, frame.Proto} {
				c := client.Dial(t, b.s.URLs[0], client.Options{Encoding: encoding})
				answer := c.Ask(ask.Auth(bad))
				if e := answer.GetAuthFailed(); e.GetCode() != "unauthenticated" || e.GetMessage() == "" {
					t.Errorf("answered %v", answer)
				}
				if code := c.Closed(); code != 1008 {
					t.Errorf("closed with %d", code)
				}
			}
		})
	}
}

// publicKey reads one of the published keys: its kid and its bytes.
func publicKey(t *testing.T, base string) (kid string, key []byte) {
	t.Helper()
	answer, err := http.Get(base + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Keys []struct{ Kid, X, D string }
	}
	if err := json.Unmarshal(raw, &set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("the published keys are %s", raw)
	}
	if set.Keys[0].D != "" {
		t.Error("a private key is published")
	}
	key, err = base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	if err != nil || len(key) != 32 {
		t.Fatalf("the published keys are %s", raw)
	}
	return set.Keys[0].Kid, key
}

// resumeToken signs in and gives the resume token.
func resumeToken(t *testing.T, base, token string) string {
	t.Helper()
	c := client.Dial(t, base, client.Options{})
	defer c.Close()
	return c.SignIn(token).ResumeToken
}

// publishedKeys tells how many keys a gateway publishes.
func publishedKeys(t *testing.T, base string) int {
	t.Helper()
	_, set := call(t, http.MethodGet, base+"/.well-known/jwks.json", "", nil)
	keys, _ := set["keys"].([]any)
	return len(keys)
}

// tokenHeader reads a token's header.
func tokenHeader(t *testing.T, raw string) map[string]any {
	t.Helper()
	token, _, err := jwt.NewParser().ParseUnverified(raw, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Header
}
