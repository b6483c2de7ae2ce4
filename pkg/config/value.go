package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/secret"
)

// A value parses texts into the field of a setting and writes the field as text.
type value interface {
	// set takes one text, or for a list several; add says to append to the list.
	// Its error says what is accepted.
	set(texts []string, add bool) error
	text() string
	// hint names the type for the help text.
	hint() string
}

// single is a value that is one text.
type single[T any] struct {
	p      *T
	kind   string
	parse  func(string) (T, error)
	format func(T) string
}

func (v *single[T]) set(texts []string, _ bool) error {
	if len(texts) != 1 {
		return errors.New("want one value, not a list")
	}
	parsed, err := v.parse(texts[0])
	if err != nil {
		return err
	}
	*v.p = parsed
	return nil
}

func (v *single[T]) text() string { return v.format(*v.p) }
func (v *single[T]) hint() string { return v.kind }

// list is a value of any number of texts.
type list struct{ p *[]string }

func (v *list) set(texts []string, add bool) error {
	if slices.Contains(texts, "") {
		return errors.New("want a list without empty entries")
	}
	if add {
		texts = slices.Concat(*v.p, texts)
	}
	*v.p = texts
	return nil
}

func (v *list) text() string { return strings.Join(*v.p, ",") }
func (v *list) hint() string { return "list" }

// split cuts the text of a flag or variable into the entries of a list; the empty text is the empty list.
func split(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	entries := strings.Split(text, ",")
	for i := range entries {
		entries[i] = strings.TrimSpace(entries[i])
	}
	return entries
}

func textValue(p *string) value {
	keep := func(s string) string { return s }
	return &single[string]{p, "text", func(s string) (string, error) { return s, nil }, keep}
}

func secretValue(p *Secret) value {
	parse := func(s string) (Secret, error) {
		if s == mask {
			return Secret{}, errors.New("this is what --print-config writes in place of a secret; want the secret itself")
		}
		return secret.New(s), nil
	}
	return &single[Secret]{p, "secret", parse, Secret.String}
}

func intValue(p *int) value {
	parse := func(s string) (int, error) {
		n, err := parseInt(s, strconv.IntSize)
		return int(n), err
	}
	return &single[int]{p, "number", parse, strconv.Itoa}
}

func int64Value(p *int64) value {
	parse := func(s string) (int64, error) { return parseInt(s, 64) }
	return &single[int64]{p, "number", parse, func(n int64) string { return strconv.FormatInt(n, 10) }}
}

func parseInt(s string, bits int) (int64, error) {
	n, err := strconv.ParseInt(s, 10, bits)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("want a whole number of %d bits", bits)
	}
	if err != nil {
		return 0, errors.New("want a whole number, such as 100")
	}
	return n, nil
}

func floatValue(p *float64) value {
	parse := func(s string) (float64, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, errors.New("want a number, such as 0.5")
		}
		return f, nil
	}
	return &single[float64]{p, "number", parse, func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }}
}

func boolValue(p *bool) value {
	parse := func(s string) (bool, error) {
		switch strings.ToLower(s) {
		case "true", "yes", "on", "1":
			return true, nil
		case "false", "no", "off", "0":
			return false, nil
		}
		return false, errors.New("want true or false")
	}
	return &single[bool]{p, "true|false", parse, strconv.FormatBool}
}

func durationValue(p *time.Duration) value {
	parse := func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, errors.New("want a time span with its unit, such as 500ms, 30s or 2h")
		}
		if d < 0 {
			return 0, errors.New("want a time span that is not negative")
		}
		return d, nil
	}
	return &single[time.Duration]{p, "duration", parse, formatDuration}
}

// formatDuration writes 1h instead of 1h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// units of sizes, in lower case.
var units = map[string]int64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

func bytesValue(p *int64) value {
	return &single[int64]{p, "size", parseBytes, formatBytes}
}

func parseBytes(s string) (int64, error) {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(s)
	}
	unit, ok := units[strings.ToLower(strings.TrimSpace(s[end:]))]
	n, err := strconv.ParseInt(s[:end], 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || ok && err == nil && n > math.MaxInt64/unit:
		return 0, errors.New("want a size below 8 EiB")
	case !ok || err != nil:
		return 0, errors.New("want a size in bytes, such as 65536, 64KiB or 10MB")
	}
	return n * unit, nil
}

// formatBytes uses the largest power of 1024 that divides n.
func formatBytes(n int64) string {
	names := []string{"", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(names)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + names[i]
}
