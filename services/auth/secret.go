package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/parley-im/parley/pkg/ids"
)

// A sign-in's id is "s_", 22 random characters, and the user's id as
// ids.Token: so that it leads to its record without an index, and is fit for a
// KV key. A refresh token is the sign-in's id, a dot, and a secret of 256 bits.
const (
	sidPrefix = "s_"
	sidRandom = 22 // characters that ids.New adds
	// maxSID is that of the longest user id, 128 bytes.
	maxSID     = len(sidPrefix) + sidRandom + 171
	secretSize = 32 // bytes
)

func newSID(user string) string { return ids.New(sidPrefix) + ids.Token(user) }

func signInPrefix(user string) string { return "s." + ids.Token(user) + "." }

// userOf tells whose sign-in an id is; false for what we never make.
func userOf(sid string) (user string, ok bool) {
	const start = len(sidPrefix) + sidRandom
	if len(sid) <= start || len(sid) > maxSID || !strings.HasPrefix(sid, sidPrefix) {
		return "", false
	}
	if _, err := ids.FromToken(sid[len(sidPrefix):start]); err != nil {
		return "", false
	}
	user, err := ids.FromToken(sid[start:])
	// One spelling each: FromToken passes over line breaks and loose bits.
	if err != nil || ids.Token(user) != sid[start:] || ids.CheckUser("", user) != nil {
		return "", false
	}
	return user, true
}

// signInKey is where a sign-in's record is; false for an id we never make.
func signInKey(sid string) (key string, ok bool) {
	user, ok := userOf(sid)
	if !ok || strings.ContainsAny(sid, "\r\n") {
		return "", false
	}
	return signInPrefix(user) + sid, true
}

// newRefresh makes a refresh token and what is kept of it.
func newRefresh(sid string) (refresh string, hash []byte) {
	var secret [secretSize]byte
	rand.Read(secret[:]) // never fails, crypto/rand
	return sid + "." + base64.RawURLEncoding.EncodeToString(secret[:]), hashSecret(secret[:])
}

// parseRefresh takes a refresh token apart.
func parseRefresh(refresh string) (sid string, hash []byte, ok bool) {
	sid, text, ok := strings.Cut(refresh, ".")
	if !ok || len(sid) > maxSID || len(text) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return "", nil, false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(secret) != secretSize {
		return "", nil, false
	}
	return sid, hashSecret(secret), true
}

// hashSecret needs no salt and no slowness: nobody guesses 256 bits.
func hashSecret(secret []byte) []byte {
	sum := sha256.Sum256(secret)
	return sum[:]
}

func sameHash(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
