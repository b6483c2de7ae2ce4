package secret

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Package yaml repeats three things of a file that it cannot read: texts, in quotes
// of three kinds; the tag of a value, for which a secret that begins with ! and has no
// quotes is taken; and the name of a field, which is what stands before a colon.
var (
	quotedText = regexp.MustCompile("(?s)`.*`|'.*'|\".*\"")
	ownTag     = regexp.MustCompile(`(?s)\bconstruct (!.*) (into|as a) `)
	namedField = regexp.MustCompile(`(?s)\bfield (.*) (not found|already set) in type .*`)

	// yamlsTag is followed by the value in quotes, but where it is a list's or a
	// mapping's.
	yamlsTag = regexp.MustCompile("(?s)^!!((binary|bool|float|int|merge|null|str|timestamp) `.*`|[a-z]{1,15})$")
	// plainName is what can be a field of ours that is misspelled, and is shorter than
	// a secret may be.
	plainName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}$`)
)

// Plain says whether a name that stands in a file, and is none that is known, may be
// told: it is shorter than a secret may be, and of lower case letters, digits and dashes.
func Plain(name string) bool { return plainName.MatchString(name) }

// Unquoted gives the text of an error of package yaml without what it repeats of
// the file, which may be a secret: a value in the wrong place, a secret that is
// taken for the name of an anchor, of a tag or of a field.
func Unquoted(err error) string {
	var several *yaml.LoadErrors
	if !errors.As(err, &several) {
		return unquoted(err.Error())
	}
	// Each by itself, for what is cut off goes from the first quote to the last.
	texts := make([]string, 0, len(several.Errors))
	for _, one := range several.Errors {
		texts = append(texts, fmt.Sprintf("line %d: %s", one.Mark.Line, unquoted(one.Message)))
	}
	return "yaml: " + strings.Join(texts, "; ")
}

func unquoted(text string) string {
	if text = masked(text, namedField, plainName); namedField.MatchString(text) {
		text, _, _ = strings.Cut(text, " in type ") // of ours, which tells the reader nothing
	}
	text = masked(text, ownTag, yamlsTag)
	return quotedText.ReplaceAllString(text, "…")
}

// masked hides what the first group of where has found, unless all of it is harmless.
func masked(text string, where, harmless *regexp.Regexp) string {
	at := where.FindStringSubmatchIndex(text)
	if at == nil || harmless.MatchString(text[at[2]:at[3]]) {
		return text
	}
	return text[:at[2]] + "…" + text[at[3]:]
}
