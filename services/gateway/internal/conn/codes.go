package conn

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// Code is a WebSocket close code. By its range a client knows what to do
// (PROTOCOL.md, section 6).
type Code int

// The codes that a gateway sends, or that stand for how a connection ended.
const (
	Normal         Code = 1000
	GoingAway      Code = 1001
	Violation      Code = 1002 // the peer broke RFC 6455
	WrongKind      Code = 1003 // a binary frame on the JSON subprotocol, or the reverse
	NoCode         Code = 1005 // the peer's close frame had none; never sent
	Abnormal       Code = 1006 // no close frame came; never sent
	InvalidUTF8    Code = 1007 // or a compressed message that cannot be inflated
	Policy         Code = 1008
	TooBig         Code = 1009
	InternalError  Code = 1011
	Overloaded     Code = 1013
	SessionRevoked Code = 4001
	Disabled       Code = 4003
	SlowConsumer   Code = 4102
	TooMany        Code = 4103
	Reconnect      Code = 4200
	NoPong         Code = 4201
	TokenExpired   Code = 4203
)

// sendable says whether a close frame may have the code (RFC 6455, section 7.4,
// and the registry that it opens, which has gone on to 1014).
func (c Code) sendable() bool {
	return c >= 1000 && c <= 1003 || c >= 1007 && c <= 1014 || c >= 3000 && c <= 4999
}

// maxReason is what a control frame's 125 bytes leave for a close reason.
const maxReason = 123

// fitReason makes a close reason valid: UTF-8, and cut between two characters.
func fitReason(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}

// closeFrame frames a code that is sendable and a reason that fits.
func closeFrame(code Code, reason string) []byte {
	frame := appendHeader(make([]byte, 0, 4+len(reason)), finBit|opClose, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(frame, uint16(code)), reason...)
}
