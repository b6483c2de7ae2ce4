package secret

import "regexp"

// quoted is what package yaml repeats of a file that it cannot read.
var quoted = regexp.MustCompile("(?s)`.*`|'.*'")

// Unquoted gives the text of an error of package yaml without what it repeats of
// the file, which may be a secret: a value in the wrong place, or the name of an
// anchor, for which a secret that begins with * and has no quotes is taken.
func Unquoted(err error) string { return quoted.ReplaceAllString(err.Error(), "…") }
