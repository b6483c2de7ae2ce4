package frame

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// The codes of an Error, as an error frame has them.
const (
	// BadMessage: no frame at all, or a field of the wrong JSON kind.
	BadMessage = "bad-message"
	// UnknownType: a frame of a type that this package does not know.
	UnknownType = "unknown-type"
	// InvalidArgument: a field of the right kind with a malformed value.
	InvalidArgument = "invalid-argument"
)

// Error says why bytes are no frame, or a frame cannot become bytes.
type Error struct {
	// Code is BadMessage, UnknownType or InvalidArgument.
	Code string
	// Field is the field at fault as the sender spelled it, with dots between
	// the levels and without list indexes and map keys ("batch.maxMessages");
	// empty where the fault is not in one field.
	Field string
	// Message is for people, and short. It begins with Field where that is set.
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

var (
	errNoType   = &Error{Code: BadMessage, Field: "type", Message: "missing"}
	errTooDeep  = &Error{Code: BadMessage, Message: "frames are nested too deep"}
	errNotUTF8  = &Error{Code: BadMessage, Message: "text is not valid UTF-8"}
	errNotFrame = &Error{Code: BadMessage, Message: "a frame is one JSON object"}
)

func malformed(message string) *Error { return &Error{Code: InvalidArgument, Message: message} }

func unknownType(name string) *Error {
	return &Error{Code: UnknownType, Field: "type", Message: "unknown type " + quote(name)}
}

// in returns the error as seen from the object that has the faulty value, or
// the object around it, in the member name.
func (e *Error) in(name string) *Error {
	outer := *e
	outer.Field = name
	if e.Field != "" {
		outer.Field += "." + e.Field
	}
	return &outer
}

// named returns the error with the field in its message.
func (e *Error) named() *Error {
	if e.Field == "" || strings.HasPrefix(e.Message, e.Field+":") {
		return e
	}
	return &Error{Code: e.Code, Field: e.Field, Message: e.Field + ": " + e.Message}
}

// quote quotes what a peer sent, and not more of it than a log line bears.
func quote(s string) string {
	const most = 64
	if len(s) <= most {
		return strconv.Quote(s)
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "…"
}
