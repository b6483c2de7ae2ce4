package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestScripts runs the tests of the page's logic under test/, which need Node
// 18 or later. Without one the test fails, unless PARLEY_NO_NODE=1 says that
// this is meant.
func TestScripts(t *testing.T) {
	if os.Getenv("PARLEY_NO_NODE") == "1" {
		t.Skip("PARLEY_NO_NODE=1: not running the tests of the page's scripts")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("no node in PATH: run scripts/install-node, or set PARLEY_NO_NODE=1 to leave the tests of the page's scripts out")
	}
	tests, err := filepath.Glob("test/*.test.js")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests of the scripts found: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), node, append([]string{"--test"}, tests...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
