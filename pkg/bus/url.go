package bus

import (
	"net/url"
	"strings"
)

// redactURL takes passwords out of a list of NATS addresses, for logs.
func redactURL(list string) string {
	parts := strings.Split(list, ",")
	for i, part := range parts {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil {
			parts[i] = u.Redacted()
		} else {
			parts[i] = "(not a URL)"
		}
	}
	return strings.Join(parts, ",")
}
