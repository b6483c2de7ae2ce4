package gateway

import (
	"net/netip"
	"testing"
)

func TestClientBehindProxies(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for _, c := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"10.0.0.1", nil, "10.0.0.1"},
		{"10.0.0.1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"::ffff:10.0.0.1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"2001:db8::1", []string{"2a00::9"}, "2a00::9"},
		{"10.0.0.1", []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"10.0.0.1", []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		{"10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"}, // one of ours calls
		// What a client says of itself counts for nothing.
		{"203.0.113.9", []string{"198.51.100.1"}, "203.0.113.9"},
		{"10.0.0.1", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"10.0.0.1", []string{"198.51.100.1, nonsense, 10.0.0.2"}, "10.0.0.2"},
		{"10.0.0.1", []string{"nonsense"}, "10.0.0.1"},
	} {
		if got := clientBehind(trusted, netip.MustParseAddr(c.peer), c.forwarded); got.String() != c.want {
			t.Errorf("%s forwards for %q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}
