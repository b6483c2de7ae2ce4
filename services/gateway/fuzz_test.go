package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/session"
)

// FuzzResume reads resume tokens that a stranger has made up, and ones that say
// anything under the right key. Only the key makes one good, and a good one goes on
// as it was.
func FuzzResume(f *testing.F) {
	key, another := []byte("the key that gateways share....."), []byte("and one that somebody else has..")
	gateways, strangers := new(tokens), new(tokens)
	gateways.resumeKey.Store(&key)
	strangers.resumeKey.Store(&another)
	alice := session.Resumption{
		Identity: session.Identity{User: &wirev1.User{Id: "u_1", Username: "alice"}, Roles: []string{"admin"}, SignIn: "s_1", IssuedAt: time.Unix(1_750_000_000, 0)},
		Session:  "s", SignedAt: time.Unix(1_750_000_001, 0),
	}
	good, err := gateways.signResume(alice)
	if err != nil {
		f.Fatal(err)
	}
	head, rest, _ := strings.Cut(good, ".")
	claims, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(claims)
	if err != nil {
		f.Fatal(err)
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	for _, seed := range [][2]string{
		{good, string(payload)},
		{none + "." + claims + ".", `{"sub":"u","aud":["parley-resume"],"exp":99999999999}`},
		{head + "." + claims + ".", `{"sub":"u","aud":"parley-resume","exp":1e300,"signed":-1,"token_exp":0.5}`},
		{good + ".x", `{"aud":"parley-resume","exp":99999999999,"roles":null,"username":"\u0000"}`},
		{"", `[]`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, made, says string) {
		if r, err := gateways.readResume(made); err == nil && !signedWith(key, made) {
			t.Errorf("a stranger's token is taken for %+v", r)
		}
		if r, err := strangers.readResume(made); err == nil {
			t.Errorf("a token of other gateways is taken for %+v", r)
		}
		signed := head + "." + base64.RawURLEncoding.EncodeToString([]byte(says))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(signed))
		r, err := gateways.readResume(signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
		if err != nil {
			return
		}
		again, err := gateways.signResume(*r)
		if err != nil {
			t.Fatalf("%+v cannot be told on: %v", r, err)
		}
		next, err := gateways.readResume(again)
		if err != nil {
			t.Fatalf("%+v was told on and is not taken: %v", r, err)
		}
		if next.Identity.User.Id != r.Identity.User.Id || next.Session != r.Session || next.Identity.SignIn != r.Identity.SignIn ||
			len(next.Identity.Roles) != len(r.Identity.Roles) || next.Identity.ExpiresAt.Before(r.Identity.ExpiresAt.Add(-time.Second)) != false {
			t.Errorf("%+v became %+v", r, next)
		}
	})
}

// signedWith says whether a token was signed with a key. Each of the processes that
// fuzz has a good one of its own, for they end at other seconds.
func signedWith(key []byte, token string) bool {
	at := strings.LastIndexByte(token, '.')
	if at < 0 {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(token[:at]))
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	return err == nil && hmac.Equal(signature, mac.Sum(nil))
}
