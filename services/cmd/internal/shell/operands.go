package shell

import (
	"fmt"
	"strings"
)

// CheckOperands holds what was typed against how a command writes its arguments:
// each word is needed but those in brackets, and one with "…" may be repeated.
func CheckOperands(want string, got []string) error {
	least, most := 0, 0
	for _, word := range strings.Fields(want) {
		if !strings.HasPrefix(word, "[") {
			least++
		}
		most++
		if strings.Contains(word, "…") {
			most = len(got)
		}
	}
	switch {
	case len(got) < least:
		return fmt.Errorf("an argument is missing: want %s", want)
	case len(got) > max(most, least):
		return fmt.Errorf("%q is an argument too many: want %s", got[most], want)
	}
	return nil
}
