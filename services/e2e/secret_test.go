package e2e

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// secret is what the deployments of these tests accept HS256 tokens with.
var secret = []byte("a secret that is long enough for HS256")

type claims = jwt.MapClaims

// signHS256 makes a token as somebody with the secret would.
func signHS256(t testing.TB, key []byte, c claims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
