package shell

import (
	"errors"
	"strings"
	"testing"

	"github.com/parley-im/parley/pkg/run"
)

func TestOperands(t *testing.T) {
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
		if err := CheckOperands(c.want, strings.Fields(c.got)); (err == nil) != c.ok {
			t.Errorf("%q for %q: %v", c.got, c.want, err)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := Printable("a\x1b[2Jé\u009b你\t"); got != "a�[2Jé�你�" {
		t.Errorf("%q", got)
	}
}

func TestExit(t *testing.T) {
	cause := errors.New("no")
	err := Exit(Refused, cause)
	if status, ok := errors.AsType[run.ExitCode](err); !ok || status != 5 || err.Error() != "no" || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	if err := Exit(Refused, nil); err != nil {
		t.Errorf("nothing is %v", err)
	}
}
