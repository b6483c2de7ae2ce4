package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/parley-im/parley/pkg/ids"
)

// A sign-in's id is "s_", 22 random characters, and the user's id as
// ids.Token: so that it leads to its record without an index, and is fit for a
// KV key.
//
// A refresh token is the sign-in's id, the token's number within the sign-in,
// and a MAC of both by a key of the deployment. So the next token follows from
// the one before, whoever asks and however often, and one that was used is
// known as one of ours however old it is. The record holds the number alone:
// who reads it has no token.
const (
	sidPrefix = "s_"
	sidRandom = 22 // characters that ids.New adds
	// maxSID is that of the longest user id, 128 bytes.
	maxSID = len(sidPrefix) + sidRandom + 171
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

// refreshToken makes a sign-in's refresh token of a number.
func refreshToken(key []byte, sid string, number uint64) string {
	text := sid + "." + strconv.FormatUint(number, 10)
	return text + "." + base64.RawURLEncoding.EncodeToString(mac(key, text))
}

// parseRefresh takes a refresh token apart; false for what we never made.
func parseRefresh(key []byte, refresh string) (sid string, number uint64, ok bool) {
	if len(refresh) > maxSID+len(".18446744073709551615.")+base64.RawURLEncoding.EncodedLen(sha256.Size) {
		return "", 0, false
	}
	dot := strings.LastIndexByte(refresh, '.')
	if dot < 0 || len(refresh)-dot-1 != base64.RawURLEncoding.EncodedLen(sha256.Size) { // decoding passes over line breaks
		return "", 0, false
	}
	got, err := base64.RawURLEncoding.Strict().DecodeString(refresh[dot+1:])
	if err != nil || !hmac.Equal(got, mac(key, refresh[:dot])) {
		return "", 0, false
	}
	sid, text, _ := strings.Cut(refresh[:dot], ".")
	number, err = strconv.ParseUint(text, 10, 64)
	return sid, number, err == nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("refresh:" + text))
	return h.Sum(nil)
}
