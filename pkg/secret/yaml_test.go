package secret_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/parley-im/parley/pkg/secret"
)

// TestUnquoted reads files in which a secret stands where none may stand. What is
// wrong is told, and the secret is not.
func TestUnquoted(t *testing.T) {
	const hidden = "s3cr3t of the shop"
	for _, c := range []struct{ file, told string }{
		{"tokens: 1", "line 1: field tokens not found"},
		{"tokens: 1\nHIDDEN: 1", "yaml: line 1: field tokens not found; line 2: field … not found"},
		{"HIDDEN: 1", "line 1: field … not found"},
		{`"HIDDEN\"HIDDEN": 1`, "line 1: field … not found"},
		{"HIDDEN: 1\nHIDDEN: 2", "already defined"},
		{"list: HIDDEN", "line 1: cannot construct !!str … into []int"},
		{"list: !!seq\n  HIDDEN", "cannot construct … into []int"},
		{"list: !!map a `HIDDEN", "cannot construct … into []int"},
		{"list: !HIDDEN 1", "cannot construct … into []int"},
		{"list: !a%20s3cr3t%20of%20the%20shop 1", "cannot construct … into []int"},
		{"list: *HIDDEN", ""},
		{"list: [HIDDEN, 'HIDDEN']", "cannot construct !!str … into int"},
		{"token: \"HIDDEN", ""},
	} {
		var document struct {
			Token string `yaml:"token"`
			List  []int  `yaml:"list"`
		}
		decoder := yaml.NewDecoder(strings.NewReader(strings.ReplaceAll(c.file, "HIDDEN", hidden)))
		decoder.KnownFields(true)
		err := decoder.Decode(&document)
		if err == nil {
			t.Errorf("%q is read", c.file)
			continue
		}
		told := secret.Unquoted(err)
		if !strings.Contains(told, c.told) || strings.Contains(told, "s3cr3t") || strings.Contains(told, "of the shop") {
			t.Errorf("%q: it says %q, want %q in it", c.file, told, c.told)
		}
	}
}
