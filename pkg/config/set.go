package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// prefix begins the name of every environment variable that is a setting.
const prefix = "PARLEY_"

// A Set is the settings of one program. Registering a setting twice, under a reserved or a malformed name, is a
// defect of the program and panics. A Set is used by one goroutine and loaded once.
type Set struct {
	program  string
	about    string
	section  string
	settings []*Setting
	byName   map[string]*Setting
	known    map[string]bool // settings of other programs
	validate []func() error

	operands      *[]string // positional arguments, if the program takes any
	operandsUsage string
}

// New makes the settings of the named program; about says in one line what it does.
func New(program, about string) *Set {
	return &Set{program: program, about: about, byName: map[string]*Setting{}, known: map[string]bool{}}
}

// A Setting is one registered setting. Its methods narrow what is accepted.
type Setting struct {
	name    string
	help    string
	section string
	value   value
	secret  bool
	masked  func(text string) bool // nil for never
	// fileFor is the secret that this setting names a file for; fileFrom is the way back.
	fileFor  *Setting
	fileFrom *Setting
	required bool
	checks   []func() error

	initial string // the default, as text
	source  source
}

// Required makes it an error to leave the setting empty.
func (t *Setting) Required() *Setting {
	t.required = true
	return t
}

// OneOf restricts a text setting to the given values.
func (t *Setting) OneOf(values ...string) *Setting {
	text, ok := t.value.(*single[string])
	if !ok {
		panic("config: OneOf is for text settings, " + t.name + " is not one")
	}
	text.kind = strings.Join(values, "|")
	text.parse = func(s string) (string, error) {
		if !slices.Contains(values, s) {
			return "", fmt.Errorf("want one of %s", strings.Join(values, ", "))
		}
		return s, nil
	}
	return t
}

// Check adds a condition on the value, which f reads from the field. The error of f should say what is accepted ("want
// at least 1"); the name of the setting, the value and where it came from are added to it.
func (t *Setting) Check(f func() error) *Setting {
	t.checks = append(t.checks, f)
	return t
}

// Masked has the value hidden, wherever it would be written, while f says that there is a secret in it which belongs
// elsewhere.
func (t *Setting) Masked(f func(text string) bool) *Setting {
	t.masked = f
	return t
}

// Section begins a group of settings in the help text.
func (s *Set) Section(title string) { s.section = title }

// String registers a text setting.
func (s *Set) String(p *string, name, help string) *Setting {
	return s.add(name, help, textValue(p))
}

// Int registers a whole number.
func (s *Set) Int(p *int, name, help string) *Setting { return s.add(name, help, intValue(p)) }

// Int64 registers a whole number of 64 bits.
func (s *Set) Int64(p *int64, name, help string) *Setting { return s.add(name, help, int64Value(p)) }

// Float64 registers a finite number.
func (s *Set) Float64(p *float64, name, help string) *Setting {
	return s.add(name, help, floatValue(p))
}

// Bool registers a switch: true, yes, on, 1 or false, no, off, 0. The flag alone means true; --name=false is the
// other way.
func (s *Set) Bool(p *bool, name, help string) *Setting { return s.add(name, help, boolValue(p)) }

// Duration registers a time span, written as in Go ("1m30s"); it cannot be negative, and only 0 may lack a unit.
func (s *Set) Duration(p *time.Duration, name, help string) *Setting {
	return s.add(name, help, durationValue(p))
}

// Bytes registers a size in bytes: a plain whole number, or one with a unit (kB, MB, GB, TB are powers of 1000; KiB,
// MiB, GiB, TiB powers of 1024; K, M, G, T mean the latter).
func (s *Set) Bytes(p *int64, name, help string) *Setting { return s.add(name, help, bytesValue(p)) }

// Strings registers a list: separated by commas in a flag or variable, a list in the file. A repeated flag adds to it.
func (s *Set) Strings(p *[]string, name, help string) *Setting {
	return s.add(name, help, &list{p: p})
}

// Secret registers a secret, and with it a setting name-file (flag --name-file, variable PARLEY_NAME_FILE) for a file
// of at most 64 KiB that holds it; one final newline is not part of it.
func (s *Set) Secret(p *Secret, name, help string) *Setting {
	secret := s.add(name, help, secretValue(p))
	secret.secret = true
	file := s.add(name+"-file", "file that holds "+name, textValue(new(string)))
	file.fileFor, secret.fileFrom = secret, file
	return secret
}

// Operands lets the program take positional arguments, put into p in their order; usage is how the help text writes
// them ("ROOM [TEXT…]"). How many there must be is for the program to check. Without Operands they are an error.
func (s *Set) Operands(p *[]string, usage string) { s.operands, s.operandsUsage = p, usage }

// Validate adds a check of the settings together. It runs in [Set.Load] after every single value was found good, also
// for --check-config; errors joined with [errors.Join] are reported a line each.
func (s *Set) Validate(f func() error) { s.validate = append(s.validate, f) }

// AlsoKnown names settings of other programs ("http-addr") that may stand in the shared environment or file. They are
// passed over there; as flags they stay errors. See [Set.Names].
func (s *Set) AlsoKnown(names ...string) {
	for _, name := range names {
		s.known[name] = true
	}
}

// Names returns the names of all registered settings, in order, for the AlsoKnown of other programs.
func (s *Set) Names() []string {
	names := make([]string, 0, len(s.settings))
	for _, t := range s.settings {
		names = append(names, t.name)
	}
	return names
}

var wellFormed = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

func (s *Set) add(name, help string, v value) *Setting {
	switch {
	case !wellFormed.MatchString(name):
		panic(fmt.Sprintf("config: malformed setting name %q", name))
	case slices.Contains(reserved, name):
		panic("config: setting name " + name + " is reserved")
	case s.byName[name] != nil:
		panic("config: setting " + name + " registered twice")
	}
	t := &Setting{name: name, help: help, section: s.section, value: v, initial: v.text(), source: source{layer: byDefault}}
	s.settings = append(s.settings, t)
	s.byName[name] = t
	return t
}

// env returns the environment variable of a setting.
func env(name string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
