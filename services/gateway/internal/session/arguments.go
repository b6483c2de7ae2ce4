package session

import (
	"unicode"
	"unicode/utf8"

	"strings"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

// checkContent looks at what a message carries: content or data or both.
func (s *Session) checkContent(content *string, data []byte) error {
	if content == nil && data == nil {
		return errs.Invalid("content", "is missing, and so is data")
	}
	if content != nil {
		if *content == "" && data == nil {
			return errs.Invalid("content", "is empty")
		}
		if err := s.checkText("content", *content); err != nil {
			return err
		}
	}
	return s.checkData(data)
}

// checkText looks at a text of content's size.
func (s *Session) checkText(field, text string) error {
	if len(text) > s.most(s.hub.opts.MaxContent) {
		return &errs.Error{Code: errs.TooLarge, Field: field, Message: field + ": is larger than the limit"}
	}
	return nil
}

func (s *Session) checkData(data []byte) error {
	if len(data) > s.most(s.hub.opts.MaxData) {
		return &errs.Error{Code: errs.TooLarge, Field: "data", Message: "data: is larger than the limit"}
	}
	return nil
}

// Sizes of pages.
const (
	maxPage         = 1000
	defaultMessages = 50
	defaultList     = 100
)

// checkLimit gives a page size: fallback where none was given, which must lie
// between least and maxPage otherwise.
func checkLimit(field string, limit *int32, least, fallback int) (int, error) {
	if limit == nil {
		return fallback, nil
	}
	if *limit < int32(least) || *limit > maxPage {
		return 0, errs.Invalid(field, "is not between %d and %d", least, maxPage)
	}
	return int(*limit), nil
}

// checkSeq looks at a place in a log.
func checkSeq(field string, seq *int64) error {
	if seq != nil && *seq < 0 {
		return errs.Invalid(field, "is negative")
	}
	return nil
}

// maxCursor bounds a cursor, bytes; ours are the base64url of an id.
const maxCursor = 512

func checkCursor(cursor *string) error {
	if cursor != nil && len(*cursor) > maxCursor {
		return errs.Invalid("cursor", "is not one of ours")
	}
	return nil
}

// checkLine looks at a short text for people.
func checkLine(field, text string, most int) error {
	switch {
	case utf8.RuneCountInString(text) > most:
		return errs.Invalid(field, "is longer than %d characters", most)
	case strings.ContainsFunc(text, unicode.IsControl):
		return errs.Invalid(field, "has control characters")
	}
	return nil
}

// actor is the user on whose behalf the registry is asked.
func (i *Identity) actor() *registryv1.Actor {
	return &registryv1.Actor{User: i.User, Roles: i.Roles}
}

// notLobby refuses what cannot be done to the built-in room.
func notLobby(field, room, what string) error {
	if room == ids.Lobby {
		return errs.Invalid(field, "the lobby %s", what)
	}
	return nil
}
