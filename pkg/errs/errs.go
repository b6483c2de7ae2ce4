// Package errs is the one coded error of Parley. A code is given only where
// somebody decides by it: a client by the code in an error frame, a caller of
// a gRPC API by the reason in its status. Every other error is an ordinary
// wrapped one, which reaches the outside as internal, without its text.
//
// The codes are those of PROTOCOL.md, section 6. Package rpc carries them over
// gRPC, the gateway's sessions put them into frames.
package errs

import (
	"errors"
	"fmt"
	"time"
)

// Code says what kind of mistake or misfortune an error is.
type Code string

// The codes that clients and callers may meet.
const (
	BadMessage      Code = "bad-message"
	UnknownType     Code = "unknown-type"
	Unauthenticated Code = "unauthenticated"
	Forbidden       Code = "forbidden"
	NotFound        Code = "not-found"
	NotJoined       Code = "not-joined"
	AlreadyExists   Code = "already-exists"
	InvalidArgument Code = "invalid-argument"
	TooLarge        Code = "too-large"
	RateLimited     Code = "rate-limited"
	Banned          Code = "banned"
	Muted           Code = "muted"
	ResumeFailed    Code = "resume-failed"
	Unavailable     Code = "unavailable"
	Internal        Code = "internal"
)

// DefaultRetryAfter is what an unavailable error says when whoever made it
// knew no better.
const DefaultRetryAfter = time.Second

// Error is a coded error.
type Error struct {
	Code Code
	// Field is the argument at fault, spelled as the caller spelled it; empty
	// where no single one is.
	Field string
	// Message is for people; it may be shown to the caller.
	Message string
	// RetryAfter says when trying again may help; zero where it will not.
	RetryAfter time.Duration
	// Cause is for the log and never shown to the caller.
	Cause error
}

// New makes a coded error with a message for the caller.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes an invalid-argument error about one field.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: InvalidArgument, Field: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// Missing makes an unavailable error: what, a service or the log, is out of
// reach because of cause.
func Missing(what string, cause error) *Error {
	return &Error{
		Code:       Unavailable,
		Message:    what + " is out of reach, try again",
		RetryAfter: DefaultRetryAfter,
		Cause:      cause,
	}
}

// Error implements error; the text is for logs and names the cause too.
func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Message
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// From gives the coded error inside err, or an internal one that keeps err as
// its cause. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var coded *Error
	if errors.As(err, &coded) {
		return coded
	}
	return &Error{Code: Internal, Message: "an internal error", Cause: err}
}

// CodeOf gives the code of err: "" for nil, internal for one without a code.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return From(err).Code
}
