package config

import (
	"errors"
	"fmt"
	"strings"
)

// asked is what the flags that every program has say.
type asked struct {
	help, version, check, print bool
	config                      string
}

// readFlags reads the command line. It goes on after an error, to find all of them.
func (s *Set) readFlags(args []string) (a asked, found []reading, errs []error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			for _, operand := range args {
				errs = append(errs, s.operand(operand))
			}
			return a, found, compact(errs)
		case arg == "-h":
			a.help = true
			continue
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			errs = append(errs, s.operand(arg))
			continue
		}

		name, text, hasText := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		t := s.byName[name]
		if given := a.toggle(name); given != nil {
			if hasText {
				errs = append(errs, fmt.Errorf("flag --%s takes no value", name))
			}
			*given = true
			continue
		}
		if t == nil && name != "config" {
			errs = append(errs, s.unknownFlag(name))
			if !hasText && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				args = args[1:] // most likely its value: not worth an error of its own
			}
			continue
		}
		if !hasText {
			switch {
			case t != nil && isBool(t.value):
				text = "true"
			case len(args) == 0 || strings.HasPrefix(args[0], "--"):
				errs = append(errs, fmt.Errorf("flag --%s wants a value", name))
				continue
			default:
				text, args = args[0], args[1:]
			}
		}
		if t == nil {
			if text == "" {
				errs = append(errs, errors.New("flag --config wants a file"))
			}
			a.config = text
			continue
		}
		found = append(found, reading{t, t.texts(text), source{byFlag, "flag --" + name}})
	}
	return a, found, compact(errs)
}

// toggle returns the field of one of the flags that take no value.
func (a *asked) toggle(name string) *bool {
	switch name {
	case "help":
		return &a.help
	case "version":
		return &a.version
	case "check-config":
		return &a.check
	case "print-config":
		return &a.print
	}
	return nil
}

func (s *Set) operand(text string) error {
	if s.operands == nil {
		return fmt.Errorf("unexpected argument %q: %s takes flags only, --help lists them", shorten(text), s.program)
	}
	*s.operands = append(*s.operands, text)
	return nil
}

func (s *Set) unknownFlag(name string) error {
	flag := "--" + name
	if strings.HasPrefix(name, "-") { // a single dash, which TrimPrefix has left
		flag = name
		if s.byName[name[1:]] != nil {
			return fmt.Errorf("unknown flag %s: did you mean -%[1]s?", flag)
		}
	}
	if s.known[name] {
		return fmt.Errorf("unknown flag %s: it is a setting of another program", flag)
	}
	var known []string
	for _, n := range append(s.Names(), reserved...) {
		known = append(known, "--"+n)
	}
	return fmt.Errorf("unknown flag %s%s", flag, suggest(flag, known))
}

// texts splits the text of a flag or variable, if t is a list.
func (t *Setting) texts(text string) []string {
	if _, ok := t.value.(*list); ok {
		return split(text)
	}
	return []string{text}
}

func isBool(v value) bool {
	_, ok := v.(*single[bool])
	return ok
}

func compact(errs []error) []error {
	var kept []error
	for _, err := range errs {
		if err != nil {
			kept = append(kept, err)
		}
	}
	return kept
}
