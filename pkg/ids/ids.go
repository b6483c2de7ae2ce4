// Package ids makes and checks the names that things carry: rooms, users,
// connections, requests. The rules are those of PROTOCOL.md, section 2; every
// entrance (a frame, an HTTP body, a gRPC request) checks with this package,
// so that no unchecked name reaches a NATS subject or a KV key.
package ids

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/parley-im/parley/pkg/errs"
)

const (
	// Lobby is the built-in room that every session belongs to.
	Lobby = "lobby"
	// DirectPrefix begins the id of every room of two.
	DirectPrefix = "dm:"

	// GuestPrefix begins the id of every guest.
	GuestPrefix = "guest:"

	maxRoom     = 64  // characters, all of them single bytes
	maxUser     = 128 // bytes
	maxUsername = 32  // characters
	maxRequest  = 64  // bytes
)

// CheckRoom says whether id can be a room's; the error names field.
func CheckRoom(field, id string) error {
	switch {
	case id == "":
		return errs.Invalid(field, "is missing")
	case len(id) > maxRoom:
		return errs.Invalid(field, "is longer than %d characters", maxRoom)
	}
	for i := range len(id) {
		c := id[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '_' || c == ':' || c == '-'
		if !ok {
			return errs.Invalid(field, "may only have characters of [A-Za-z0-9_:-]")
		}
	}
	return nil
}

// CheckNewRoom says whether a user may make a room of this id: the lobby and
// rooms of two are not made by name.
func CheckNewRoom(field, id string) error {
	if err := CheckRoom(field, id); err != nil {
		return err
	}
	if strings.HasPrefix(id, DirectPrefix) {
		return errs.Invalid(field, "ids beginning with %q are made by open-direct", DirectPrefix)
	}
	return nil
}

// CheckUser says whether id can be a user's; the error names field.
func CheckUser(field, id string) error {
	switch {
	case id == "":
		return errs.Invalid(field, "is missing")
	case len(id) > maxUser:
		return errs.Invalid(field, "is longer than %d bytes", maxUser)
	case !utf8.ValidString(id):
		return errs.Invalid(field, "is not UTF-8")
	case strings.ContainsFunc(id, unicode.IsControl):
		return errs.Invalid(field, "has control characters")
	}
	return nil
}

// Username brings a username to Unicode NFC and checks it; the error names
// field.
func Username(field, name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", errs.Invalid(field, "is not UTF-8")
	}
	name = norm.NFC.String(name)
	switch {
	case name == "":
		return "", errs.Invalid(field, "is missing")
	case utf8.RuneCountInString(name) > maxUsername:
		return "", errs.Invalid(field, "is longer than %d characters", maxUsername)
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", errs.Invalid(field, "has control characters")
	case strings.TrimSpace(name) == "":
		return "", errs.Invalid(field, "is blank")
	}
	return name, nil
}

// CheckRequest says whether id can be what a client calls a request.
func CheckRequest(field, id string) error {
	if len(id) < 1 || len(id) > maxRequest {
		return errs.Invalid(field, "must have 1 to %d bytes", maxRequest)
	}
	return nil
}

// Direct is the id of the room of two users, in whichever order they are given.
func Direct(a, b string) string {
	return DirectPrefix + digest(min(a, b), max(a, b))
}

// New makes a name that nobody else has: 128 bits of randomness behind a
// prefix that tells people what it names.
func New(prefix string) string {
	var b [16]byte
	rand.Read(b[:]) // never fails, crypto/rand
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// Token writes any text as one token of a NATS subject or KV key, which allow
// neither dots nor wildcards nor, in a key, colons.
func Token(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// FromToken is the inverse of Token.
func FromToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	return string(b), err
}

// Message is the name under which the log knows a message for deduplication.
// Each part is hashed with its length, for ids may contain any character and
// "a"+"bc" must not be "ab"+"c".
func Message(room, user, id string) string { return digest(room, user, id) }

func digest(parts ...string) string {
	h := sha256.New()
	var n [4]byte
	for _, part := range parts {
		binary.BigEndian.PutUint32(n[:], uint32(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	// 128 bits: collisions within a window of minutes are out of the question,
	// and the server keeps each id in memory for as long.
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
