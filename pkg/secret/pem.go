package secret

import "strings"

// Untyped gives the text of an error of tls.X509KeyPair without the types of the PEM
// blocks that it has passed over: a type is any text, a key's too.
func Untyped(err error) string {
	text, _, _ := strings.Cut(err.Error(), " after skipping ")
	return text
}
