// Package secret has types for what must not be shown: passwords, tokens, keys.
//
// A value formatted with any verb, logged, or encoded as JSON, YAML or text is
// six asterisks, or nothing where it is empty; only Reveal gives what it is. So
// whoever logs a request or options whole shows no secret, without knowing that
// there is one in them.
//
// It owns how secrets look; it must not know what they are for.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Mask stands for a secret wherever one would be written.
const Mask = "******"

// Text is a secret text; the zero value is an empty one. It is behind a pointer
// because package fmt calls no methods of unexported fields: of a plain string in
// one, the format %v of the struct around would show all.
type Text struct{ value *string }

// New makes a Text.
func New(text string) Text {
	if text == "" {
		return Text{}
	}
	return Text{&text}
}

// Reveal returns the secret itself.
func (s Text) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero says whether the text is empty.
func (s Text) IsZero() bool { return s.value == nil }

// String returns the mask.
func (s Text) String() string { return mask(s.IsZero()) }

// GoString returns the mask, for %#v.
func (s Text) GoString() string { return s.String() }

// Format writes the mask for every verb: %x and %p, too, would show something.
func (s Text) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText returns the mask.
func (s Text) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the secret itself.
func (s *Text) UnmarshalText(text []byte) error {
	*s = New(string(text))
	return nil
}

// LogValue returns the mask.
func (s Text) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Bytes is a secret of bytes, such as a key; a []byte can be assigned to it as it
// is. Unlike a Text it shows in an unexported field of what is formatted.
type Bytes []byte

// Reveal returns the secret itself.
func (s Bytes) Reveal() []byte { return s }

// String returns the mask.
func (s Bytes) String() string { return mask(len(s) == 0) }

// GoString returns the mask, for %#v.
func (s Bytes) GoString() string { return s.String() }

// Format writes the mask for every verb.
func (s Bytes) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText returns the mask.
func (s Bytes) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns the mask.
func (s Bytes) LogValue() slog.Value { return slog.StringValue(s.String()) }

func mask(empty bool) string {
	if empty {
		return ""
	}
	return Mask
}
