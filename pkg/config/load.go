package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Action is what the program is to do after its settings were loaded.
type Action int

const (
	// Run means that the settings are good and the program was asked to run.
	Run Action = iota
	// Stop means that there is nothing left to do: the help, the version or the configuration was written, or the
	// settings have errors.
	Stop
)

// reserved names are flags that every program has, see (*Set).readFlags.
var reserved = []string{"help", "version", "config", "check-config", "print-config"}

// A layer is a kind of place a value may come from; a higher one wins.
type layer int

const (
	byDefault layer = iota
	byFile
	byEnvironment
	byFlag
)

// A source is the place a value came from.
type source struct {
	layer layer
	where string // "flag --http-addr"
}

func (s source) String() string {
	if s.layer == byDefault {
		return "default"
	}
	return s.where
}

// A reading is a value found for a setting.
type reading struct {
	setting *Setting
	texts   []string // one, unless it is a list
	source  source
}

// Load reads the settings from args (without the program's name), environ (entries "NAME=value") and the file that
// --config or PARLEY_CONFIG names, and writes them to the registered fields. What the user asked to see (--help,
// --version, --check-config, --print-config) goes to out; the action then is Stop.
//
// The error joins all that was found wrong, a line each; the fields are then in an undefined state.
func (s *Set) Load(args, environ []string, out io.Writer) (Action, error) {
	asked, flags, errs := s.readFlags(args)
	switch {
	case asked.help:
		return Stop, s.writeHelp(out)
	case asked.version:
		_, err := fmt.Fprintln(out, Line(s.program))
		return Stop, err
	}

	path, variables, faults := s.readEnvironment(environ)
	errs = append(errs, faults...)
	if asked.config != "" {
		path = asked.config
	}
	entries, faults := s.readFile(path)
	errs = append(errs, faults...)

	for _, r := range slices.Concat(entries, variables, flags) {
		if err := r.apply(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return Stop, errors.Join(errs...)
	}

	err := s.check()
	switch {
	case asked.print:
		// Also when something is missing: the print shows what.
		return Stop, errors.Join(s.writeConfig(out), err)
	case err != nil:
		return Stop, err
	case asked.check:
		_, err := fmt.Fprintln(out, "configuration ok")
		return Stop, err
	}
	return Run, nil
}

// check applies the conditions on single settings, then, if those hold, those on all together.
func (s *Set) check() error {
	var errs []error
	for _, t := range s.settings {
		if t.required && t.value.text() == "" {
			errs = append(errs, fmt.Errorf("%s is missing: give --%s, the environment variable %s, or %[1]s in the file",
				t.name, t.name, env(t.name)))
			continue
		}
		for _, f := range t.checks {
			if err := f(); err != nil {
				errs = append(errs, t.fault(t.value.text(), t.source, err))
			}
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, f := range s.validate {
		if err := f(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// apply writes a value to its setting's field.
func (r reading) apply() error {
	t := r.setting
	rival := t.fileFor
	if t.secret {
		rival = t.fileFrom
	}
	if rival != nil && rival.source.layer == r.source.layer {
		return fmt.Errorf("%s and %s are both given (%s, %s): want one of them",
			rival.name, t.name, rival.source.where, r.source.where)
	}
	// Only a repeated flag is seen twice in a layer.
	again := t.source.layer == r.source.layer
	if err := t.value.set(r.texts, again); err != nil {
		return t.fault(strings.Join(r.texts, ","), r.source, err)
	}
	t.source = r.source
	switch {
	case t.secret: // wins over a file named in a lower layer
		return t.fileFrom.value.set([]string{""}, false)
	case t.fileFor != nil:
		return t.readSecret(r.texts[0])
	}
	return nil
}

// fault says that a value is not accepted. A secret's value, and a masked one, is left out.
func (t *Setting) fault(text string, from source, err error) error {
	shown := fmt.Sprintf("%q", shorten(text))
	if t.secret || t.masked != nil && t.masked(text) {
		shown = "the value"
	}
	return fmt.Errorf("%s: %s from %v: %w", t.name, shown, from, err)
}

func shorten(text string) string {
	const most = 80
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// readSecret puts the content of the file at path into the secret that t belongs to.
func (t *Setting) readSecret(path string) error {
	if path == "" {
		return nil
	}
	content, err := readBounded(path, 64<<10)
	var unread *fs.PathError
	if errors.As(err, &unread) && !filepath.IsAbs(path) {
		err = unread.Err // the secret itself may stand where its file belongs
	}
	if err != nil {
		return fmt.Errorf("%s from %v: %w", t.name, t.source, err)
	}
	content = bytes.TrimSuffix(content, []byte("\n"))
	content = bytes.TrimSuffix(content, []byte("\r"))
	if len(content) == 0 {
		return fmt.Errorf("%s from %v: %s is empty", t.name, t.source, path)
	}
	secret := t.fileFor
	if err := secret.value.set([]string{string(content)}, false); err != nil {
		return secret.fault("", source{t.source.layer, path}, err)
	}
	secret.source = source{t.source.layer, path}
	return nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %s", path, formatBytes(limit))
	}
	return content, nil
}
