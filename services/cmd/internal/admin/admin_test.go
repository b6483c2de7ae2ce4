package admin

import (
	"strings"
	"testing"

	"github.com/parley-im/parley/pkg/config"
)

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{"", "", true}, {"", "a", false},
		{"USER", "a", true}, {"USER", "", false}, {"USER", "a b", false},
		{"[USER]", "", true}, {"[USER]", "a", true}, {"[USER]", "a b", false},
		{"USER ROLE…", "a b c", true}, {"USER ROLE…", "a b", true}, {"USER ROLE…", "a", false},
		{"USER [ROLE…]", "a", true}, {"USER [ROLE…]", "a b c", true},
	} {
		if err := checkArguments(c.want, strings.Fields(c.got)); (err == nil) != c.ok {
			t.Errorf("%q for %q: %v", c.got, c.want, err)
		}
	}
}

// A setting that is registered twice panics.
func TestFlags(t *testing.T) {
	for _, c := range commands {
		s := config.New(c.name, c.about)
		if c.make(s) == nil {
			t.Errorf("%s does nothing", c.name)
		}
		new(deployment).operator.Register(s)
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2Jé\u009b你\t"); got != "a�[2Jé�你�" {
		t.Errorf("%q", got)
	}
}
