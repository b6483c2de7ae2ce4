package frame

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxInteger is the largest integer of the protocol: up to here every one is
// exact as a double, which is what JSON numbers are to most readers (RFC 7493,
// section 2.2).
const maxInteger = 1 << 53

// value is one valid JSON value, as it stands in the frame.
type value []byte

func (v value) null() bool { return v[0] == 'n' }

func (v value) kind() string {
	switch v[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// want returns an error if the value is not of the kind named.
func (v value) want(kind string) *Error {
	if got := v.kind(); got != kind {
		return &Error{Code: BadMessage, Message: "must be " + kind + ", not " + got}
	}
	return nil
}

func (v value) text() (string, *Error) {
	if v[0] != '"' {
		return "", v.want("a string")
	}
	return unquote(v[1 : len(v)-1]), nil
}

// optional returns text where presence matters.
func (v value) optional() (*string, *Error) {
	s, err := v.text()
	if err != nil {
		return nil, err
	}
	return &s, nil
}

func (v value) boolean() (bool, *Error) {
	return v[0] == 't', v.want("a boolean")
}

// optionalBoolean returns a boolean where presence matters.
func (v value) optionalBoolean() (*bool, *Error) {
	b, err := v.boolean()
	if err != nil {
		return nil, err
	}
	return &b, nil
}

// integer returns an integer of at most limit to either side. 1.0 and 1e3 are
// none: readers differ on how much of such a number they keep.
func (v value) integer(least, most int64) (int64, *Error) {
	if err := v.want("a number"); err != nil {
		return 0, err
	}
	if bytes.ContainsAny(v, ".eE") {
		return 0, malformed("must be an integer, without fraction and exponent")
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < least || n > most {
		return 0, malformed("must be between " + strconv.FormatInt(least, 10) + " and " + strconv.FormatInt(most, 10))
	}
	return n, nil
}

func (v value) int64() (int64, *Error) { return v.integer(-maxInteger, maxInteger) }

// optionalInt64 returns an integer where presence matters.
func (v value) optionalInt64() (*int64, *Error) {
	n, err := v.int64()
	if err != nil {
		return nil, err
	}
	return &n, nil
}

func (v value) double() (float64, *Error) {
	if err := v.want("a number"); err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return 0, malformed("is beyond the range of a double")
	}
	return n, nil
}

// bytes returns what base64 stands for.
func (v value) bytes() ([]byte, *Error) {
	s, err := v.text()
	if err != nil {
		return nil, err
	}
	b, bad := base64.StdEncoding.Strict().DecodeString(s)
	if bad != nil {
		return nil, malformed("must be base64 (RFC 4648, section 4)")
	}
	return b, nil
}

// time returns an RFC 3339 time, cut to milliseconds: more the protocol does
// not carry. A leap second (":60") is refused, like everywhere in Go.
func (v value) time() (*timestamppb.Timestamp, *Error) {
	if err := v.want("a string"); err != nil {
		return nil, err
	}
	text := v[1 : len(v)-1]
	var t time.Time
	if t.UnmarshalText(text) != nil {
		// RFC 3339 allows "t" and "z" too, which package time does not; and
		// the text may have escapes.
		if t.UnmarshalText(bytes.ToUpper([]byte(unquote(text)))) != nil {
			return nil, malformed("must be a time as in RFC 3339")
		}
	}
	stamp := timestamppb.New(t)
	stamp.Nanos -= stamp.Nanos % int32(time.Millisecond)
	if err := checkTime(stamp); err != nil {
		return nil, err
	}
	return stamp, nil
}

func checkTime(t *timestamppb.Timestamp) *Error {
	if t.CheckValid() != nil {
		return malformed("must be a time in the years 1 to 9999")
	}
	return nil
}

// data returns a copy of the value, compact, for a json_value field.
func (v value) data() ([]byte, *Error) {
	if v[0] == '{' || v[0] == '[' {
		if err := whole(v, maxDataDepth); err != nil {
			return nil, &Error{Code: BadMessage, Message: "nested too deep"}
		}
	}
	return compact(bytes.Clone(v)), nil
}

// validData refuses bytes that are not one JSON value, for a json_value field
// that did not come as part of a JSON frame.
func validData(b []byte) *Error {
	if !utf8.Valid(b) || whole(b, maxDataDepth) != nil {
		return malformed("must be one JSON value, nested at most " + strconv.Itoa(maxDataDepth) + " deep")
	}
	return nil
}

// CheckData says what keeps bytes from being what a frame has in its field data:
// one JSON value in UTF-8, nested at most 64 deep. It returns nil or an *Error.
func CheckData(b []byte) error {
	if err := validData(b); err != nil {
		return err.in("data").named()
	}
	return nil
}

// unquote returns the text that stands between two quotes. Half of a surrogate
// pair becomes U+FFFD, which is what a browser's TextEncoder makes of it, so
// both subprotocols see the same text.
func unquote(b []byte) string {
	esc := bytes.IndexByte(b, '\\')
	if esc < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for esc >= 0 {
		out = append(out, b[:esc]...)
		b = b[esc+1:]
		c := b[0]
		b = b[1:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			var r rune
			r, b = unescape(b)
			out = utf8.AppendRune(out, r)
			esc = bytes.IndexByte(b, '\\')
			continue
		}
		out = append(out, c)
		esc = bytes.IndexByte(b, '\\')
	}
	return string(append(out, b...))
}

// unescape returns the character that the digits behind "\u" begin, and the
// text behind it.
func unescape(b []byte) (rune, []byte) {
	r := hex4(b)
	b = b[4:]
	if !utf16.IsSurrogate(r) {
		return r, b
	}
	if len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(b[2:])); pair != utf8.RuneError {
			return pair, b[6:]
		}
	}
	return utf8.RuneError, b
}

func hex4(b []byte) (r rune) {
	for _, c := range b[:4] {
		r = r<<4 | unhex(c)
	}
	return r
}
