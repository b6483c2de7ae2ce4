package token_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/parley-im/parley/pkg/token"
)

func TestKeysComeBack(t *testing.T) {
	key := token.GenerateKey()
	again, err := token.ParsePrivateKey(key.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() != key.ID() || !bytes.Equal(again.Marshal(), key.Marshal()) {
		t.Fatal("another private key came back")
	}
	public, err := token.ParsePublicKey(key.Public().Marshal())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := token.NewSigner(again).Sign(alice())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newVerifier(public).Verify(raw); err != nil {
		t.Fatal(err)
	}
}

// The key and thumbprint of RFC 8037, appendix A.
func TestThumbprint(t *testing.T) {
	const kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
	key, err := token.ParsePublicKey([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"EdDSA","use":"sig","kid":"` + kid + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	if key.ID() != kid {
		t.Fatalf("got %s", key.ID())
	}
}

func TestBadPublicKeys(t *testing.T) {
	good := string(token.GenerateKey().Public().Marshal())
	for name, data := range map[string]string{
		"empty":         "",
		"no object":     "[]",
		"another kind":  strings.Replace(good, "OKP", "EC", 1),
		"another curve": strings.Replace(good, "Ed25519", "X25519", 1),
		"another alg":   strings.Replace(good, "EdDSA", "HS256", 1),
		"another use":   strings.Replace(good, `"sig"`, `"enc"`, 1),
		"short":         strings.Replace(good, `"x":"`, `"x":"","y":"`, 1),
		"wrong kid":     strings.Replace(good, `"kid":"`, `"kid":"x`, 1),
	} {
		if _, err := token.ParsePublicKey([]byte(data)); err == nil {
			t.Errorf("%s: accepted %s", name, data)
		}
	}
	if _, err := token.ParsePrivateKey([]byte("no key")); err == nil {
		t.Error("accepted a private key that is none")
	}
}

func TestParsePublicKeys(t *testing.T) {
	a, b := token.GenerateKey().Public(), token.GenerateKey().Public()
	keys, err := token.ParsePublicKeys(map[string][]byte{a.ID(): a.Marshal(), "bad": []byte("{}"), "other": b.Marshal()})
	if err == nil {
		t.Error("no complaint about the bad ones")
	}
	if len(keys) != 1 || keys[0].ID() != a.ID() {
		t.Errorf("got %v", keys)
	}
}

func TestJWKS(t *testing.T) {
	if got := string(token.JWKS(nil)); got != `{"keys":[]}` {
		t.Errorf("no keys: %s", got)
	}
	a, b := token.GenerateKey(), token.GenerateKey()
	document := token.JWKS([]token.PublicKey{a.Public(), b.Public()})
	if swapped := token.JWKS([]token.PublicKey{b.Public(), a.Public()}); !bytes.Equal(document, swapped) {
		t.Error("the order of the keys shows")
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(document, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 {
		t.Fatalf("got %s", document)
	}
	for _, key := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(key["x"])
		if err != nil || len(x) != 32 || len(key) != 6 || key["d"] != "" ||
			key["kty"] != "OKP" || key["crv"] != "Ed25519" || key["alg"] != "EdDSA" || key["use"] != "sig" {
			t.Errorf("got %v", key)
		}
	}
}

func TestPrivateKeysDoNotShow(t *testing.T) {
	key := token.GenerateKey()
	want := "private key " + key.ID()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, key); got != want {
			t.Errorf("%s: %s", verb, got)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("", "key", key)
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "key", key)
	if got := strings.Count(log.String(), want); got != 2 || log.Len() > 400 {
		t.Errorf("logged %s", log.String())
	}
}
