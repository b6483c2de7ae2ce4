package registry

import (
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

const (
	maxName     = 128 // characters
	maxTopic    = 256 // characters
	maxPage     = 1000
	defaultPage = 100
	maxUsers    = 1000 // in one GetMembers
)

func checkName(name string) error {
	if strings.TrimSpace(name) == "" {
		return errs.Invalid("name", "is blank")
	}
	return checkText("name", name, maxName)
}

func checkText(field, text string, limit int) error {
	switch {
	case !utf8.ValidString(text):
		return errs.Invalid(field, "is not UTF-8")
	case utf8.RuneCountInString(text) > limit:
		return errs.Invalid(field, "is longer than %d characters", limit)
	case strings.ContainsFunc(text, unicode.IsControl):
		return errs.Invalid(field, "has control characters")
	}
	return nil
}

func checkVisibility(v registryv1.Visibility) error {
	switch v {
	case registryv1.Visibility_VISIBILITY_PUBLIC, registryv1.Visibility_VISIBILITY_PRIVATE:
		return nil
	}
	return errs.Invalid("visibility", "is neither public nor private")
}

func checkRole(r registryv1.Role) error {
	if r < member || r > owner {
		return errs.Invalid("role", "is not member, moderator or owner")
	}
	return nil
}

// pageSize gives how many entries a page is to have.
func pageSize(limit int32) (int, error) {
	if limit == 0 {
		return defaultPage, nil
	}
	if limit < 0 || limit > maxPage {
		return 0, errs.Invalid("limit", "must be 1 to %d", maxPage)
	}
	return int(limit), nil
}

// A cursor is the id that the page before ended with. It is written in base64
// so that nobody takes it for more than it is.
func cursorOf(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

// fromCursor gives the id of a cursor, "" of an empty one.
func fromCursor(cursor string, check func(field, id string) error) (string, error) {
	if cursor == "" {
		return "", nil
	}
	id, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || check("cursor", string(id)) != nil {
		return "", errs.Invalid("cursor", "is not one that was handed out")
	}
	return string(id), nil
}

// checkPrefix says whether prefix can begin a room's id.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return ids.CheckRoom("prefix", prefix)
}
