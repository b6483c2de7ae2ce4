package admin

import (
	"strings"
	"testing"

	"github.com/parley-im/parley/pkg/config"
)

// A setting that is registered twice panics.
func TestFlags(t *testing.T) {
	for _, c := range commands {
		s := config.New(c.name, c.about)
		if c.make(s) == nil {
			t.Errorf("%s does nothing", c.name)
		}
		if first, _, _ := strings.Cut(c.example, " "); first != c.name {
			t.Errorf("the example of %s is %s", c.name, c.example)
		}
		new(deployment).operator.Register(s)
	}
}
