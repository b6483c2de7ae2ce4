package structure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPackages(t *testing.T) {
	packages := workspace(t)
	for _, p := range packages {
		for _, why := range broken(p) {
			t.Error(why)
		}
	}
	// The rules are as good as the list they are tried on.
	for _, path := range []string{"proto/wire/v1", "pkg/bus", "services/gateway/internal/conn", "services/cmd/parley"} {
		if !slices.ContainsFunc(packages, func(p source) bool { return p.path == path }) {
			t.Errorf("%s is not among the %d packages of the workspace", path, len(packages))
		}
	}
}

// workspace gives all packages of the modules in go.work.
func workspace(t *testing.T) []source {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=Dir,ImportPath,Imports,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles", "work")
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, cmd.Stderr)
	}
	var packages []source
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var listed struct {
			Dir, ImportPath                              string
			Imports                                      []string
			GoFiles, CgoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := list.Decode(&listed); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("reading what go list says: %v", err)
		}
		p := source{path: strings.TrimPrefix(listed.ImportPath, module), generated: true}
		for _, imported := range listed.Imports {
			p.imports = append(p.imports, strings.TrimPrefix(imported, module))
		}
		for _, name := range slices.Concat(listed.GoFiles, listed.CgoFiles, listed.TestGoFiles, listed.XTestGoFiles) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(listed.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			p.documented = p.documented || file.Doc != nil
			p.generated = p.generated && ast.IsGenerated(file)
		}
		packages = append(packages, p)
	}
}

func TestFiles(t *testing.T) {
	read := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if skipped(entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".js", ".ts", ".css", ".html"}, filepath.Ext(path)) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		if why := tooLong(text); why != "" {
			t.Errorf("%s %s", path, why)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 100 {
		t.Errorf("only %d files were found", read)
	}
}

// skipped tells whether a folder holds what nobody writes by hand.
func skipped(dir string) bool {
	return strings.HasPrefix(dir, ".") && strings.Trim(dir, ".") != "" ||
		slices.Contains([]string{"bin", "data", "dist", "node_modules", "test-artifacts", "testdata"}, dir)
}

// tooLong says that a file is, unless a program wrote it.
func tooLong(text []byte) string {
	lines := bytes.Count(text, []byte("\n"))
	head := text[:min(len(text), 400)]
	if lines <= longest || bytes.Contains(head, []byte("Code generated ")) {
		return ""
	}
	return fmt.Sprintf("has %d lines, more than %d", lines, longest)
}
