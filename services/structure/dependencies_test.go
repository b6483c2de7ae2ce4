package structure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// argued is the page that has a line for each direct dependency.
const argued = "../adr/0016-dependencies.md"

// TestDependencies looks whether each direct dependency of the workspace's
// modules is argued for, once, and nothing else is.
func TestDependencies(t *testing.T) {
	page, err := os.ReadFile(argued)
	if err != nil {
		t.Fatal(err)
	}
	direct := dependencies(t)
	for _, why := range unargued(direct, string(page)) {
		t.Errorf("%s: %s", argued, why)
	}
	if !slices.Contains(direct, "github.com/nats-io/nats.go") {
		t.Errorf("nats.go is not among the %d dependencies", len(direct))
	}
}

// dependencies gives what the go.mod of each module of the workspace requires
// directly, our own modules left out.
func dependencies(t *testing.T) []string {
	t.Helper()
	var direct []string
	for _, dir := range strings.Fields(goCommand(t, ".", "list", "-m", "-f", "{{.Dir}}")) {
		var mod struct {
			Require []struct {
				Path     string
				Indirect bool
			}
		}
		if err := json.Unmarshal([]byte(goCommand(t, dir, "mod", "edit", "-json")), &mod); err != nil {
			t.Fatalf("reading what go mod says: %v", err)
		}
		for _, r := range mod.Require {
			if !r.Indirect && !strings.HasPrefix(r.Path, module) && !slices.Contains(direct, r.Path) {
				direct = append(direct, r.Path)
			}
		}
	}
	return direct
}

func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Clean(dir)
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, cmd.Stderr)
	}
	return string(out)
}

// line is a dependency's: its path, and a reason.
var line = regexp.MustCompile(`(?m)^\| ([a-z]+\.[^ |]+) \| ([^|]*) \|$`)

// unargued tells what is wrong with a page.
func unargued(direct []string, page string) (wrong []string) {
	var have []string
	for _, match := range line.FindAllStringSubmatch(page, -1) {
		path, reason := match[1], match[2]
		switch {
		case slices.Contains(have, path):
			wrong = append(wrong, path+" has two lines")
		case !slices.Contains(direct, path):
			wrong = append(wrong, fmt.Sprintf("%s is no direct dependency of any module", path))
		case len(reason) < len("the same"):
			wrong = append(wrong, path+" has no reason")
		}
		have = append(have, path)
	}
	for _, path := range direct {
		if !slices.Contains(have, path) {
			wrong = append(wrong, path+" is a direct dependency without a line")
		}
	}
	return wrong
}

func TestRuleOfDependencies(t *testing.T) {
	for page, want := range map[string]string{
		"| example.org/a | is needed |\n| example.org/b/v2 | is needed, too |\n":                           "",
		"| example.org/a | is needed |\n":                                                                  "example.org/b/v2 is a direct dependency without a line",
		"| example.org/a | is needed |\n| example.org/b/v2 | |\n":                                          "example.org/b/v2 is a direct dependency without a line",
		"| example.org/a | is needed |\n| example.org/b/v2 | x |\n":                                        "example.org/b/v2 has no reason",
		"| example.org/a | is needed |\n| example.org/b/v2 | is needed |\n| example.org/c | is needed |\n": "example.org/c is no direct dependency of any module",
		"| example.org/a | is needed |\n| example.org/a | is needed |\n| example.org/b/v2 | is needed |\n": "example.org/a has two lines",
	} {
		got := strings.Join(unargued([]string{"example.org/a", "example.org/b/v2"}, page), "\n")
		if got != want {
			t.Errorf("%q: %q, want %q", page, got, want)
		}
	}
}
