package shell

import "strings"

// Printable keeps what strangers have chosen, as a message or a User-Agent, from
// moving a terminal's cursor.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, text)
}
