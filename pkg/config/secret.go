package config

import (
	"fmt"
	"io"
	"log/slog"
)

// mask stands for a secret wherever one would be written.
const mask = "******"

// A Secret is a text that does not show itself: formatted, logged or encoded as JSON, YAML or text it is six
// asterisks, or nothing when it is empty. Only [Secret.Reveal] gives the value.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns the mask.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString returns the mask, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format writes the mask for every verb: %x and %d, too, would show a secret.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText returns the mask.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
