package parley

import (
	"errors"
	"time"

	"github.com/parley-im/parley/pkg/frame"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// The codes of an [Error] that no gateway sends; the others are in PROTOCOL.md,
// section 6.
const (
	// CodeConnectionLost: the connection ended before the answer; the request may
	// have taken effect.
	CodeConnectionLost = "connection-lost"
	// CodeTimeout: no answer within 15 s.
	CodeTimeout = "timeout"
	// CodeClosed: the client was closed by the application.
	CodeClosed = "closed"
	// CodeLeft: the room was left by the application.
	CodeLeft = "left"
	// CodeKicked: somebody put the user out of the room.
	CodeKicked = "kicked"
	// CodeRoomDeleted: the room is gone.
	CodeRoomDeleted = "room-deleted"
	// CodeOutboxFull: too many messages of the room wait already.
	CodeOutboxFull = "outbox-full"
	// CodeUnknownOutcome: whether the message was stored cannot be found out any more.
	CodeUnknownOutcome = "unknown-outcome"
	// CodeUnauthenticated: nobody is signed in, or the token is not accepted.
	CodeUnauthenticated = "unauthenticated"
	// CodeRevoked: the sign-in was ended elsewhere (4001).
	CodeRevoked = "revoked"
	// CodeDisabled: the account is disabled (4003).
	CodeDisabled = "disabled"
	// CodeTerminated: the gateway ended the session for good.
	CodeTerminated = "terminated"
	// CodePolicy: the gateway closed the connection because its rules were broken (1008).
	CodePolicy = "policy"
	// CodeDefect: something was sent that the gateway cannot accept (1003, 1007, 1009).
	CodeDefect = "defect"
	// CodeNoGateway: what answers at the address is no gateway.
	CodeNoGateway = "no-gateway"
)

// The codes of gateways that the client itself decides by.
const (
	codeUnavailable  = "unavailable"
	codeRateLimited  = "rate-limited"
	codeInternal     = "internal"
	codeNotFound     = "not-found"
	codeNotJoined    = "not-joined"
	codeResumeFailed = "resume-failed"
	codeTooLarge     = "too-large"
	codeInvalid      = "invalid-argument"
)

// Error is what a request, a message, a room or a client comes to that does not
// succeed.
type Error struct {
	// Code is one of the constants of this package, or of PROTOCOL.md, section 6.
	Code string
	// Message is for people, and may be empty.
	Message string
	// Field is the field of the request that is at fault, where one is.
	Field string
	// RetryAfter is when trying again may help; 0 where that is not told.
	RetryAfter time.Duration
}

// Error returns the code and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Temporary tells whether the same request may succeed later.
func (e *Error) Temporary() bool {
	switch e.Code {
	case codeUnavailable, codeRateLimited, codeInternal, CodeTimeout:
		return true
	}
	return false
}

// CodeOf gives the code of the [Error] in err's chain, "" where there is none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// ErrSignedOut is what [Options.GetToken] returns, wrapped or not, where there is
// nobody to sign in: it ends the client.
var ErrSignedOut = errors.New("nobody is signed in")

func errLost() *Error {
	return &Error{Code: CodeConnectionLost, Message: "the connection was lost"}
}

func errClosed() *Error { return &Error{Code: CodeClosed, Message: "the client was closed"} }

// refused gives what a reply refuses with, nil for one that does not.
func refused(f *wirev1.ServerFrame) *Error {
	if e := f.GetError(); e != nil {
		return &Error{Code: e.Code, Message: e.Message, Field: e.GetField(), RetryAfter: time.Duration(e.GetRetryAfterMs()) * time.Millisecond}
	}
	if e := f.GetAuthFailed(); e != nil {
		return &Error{Code: e.Code, Message: e.Message}
	}
	return nil
}

// unwritable makes an Error of what pkg/frame says of a request.
func unwritable(err error) error {
	if e, ok := errors.AsType[*frame.Error](err); ok {
		return &Error{Code: e.Code, Message: e.Message, Field: e.Field}
	}
	return err
}
