package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Suite is some tests that try what the run of the checker does not.
type Suite struct {
	Title string `json:"title"`
	About string `json:"about"`
	// Package is a folder of services, Pattern what go test -run is given, Env
	// a setting.
	Package string `json:"package"`
	Pattern string `json:"pattern"`
	Env     string `json:"env,omitempty"`
	Tests   []Test `json:"tests"`
}

// Test is how one test, or a part of one, came out.
type Test struct {
	Name  string `json:"name"`
	About string `json:"about,omitempty"` // the first sentence of its comment
	// Outcome is pass, fail or skip.
	Outcome string  `json:"outcome"`
	Seconds float64 `json:"seconds"`
}

// Suites are those that `make report` runs.
var Suites = []Suite{
	{Title: "Hostile clients", Package: "e2e/hostile", Pattern: "^TestHostile$",
		About: "Each attack is made on a real process while two clients chat, which must lose nothing; memory and files must be given back. These are the quick sizes; `make hostile` makes them as large as they get."},
	{Title: "Disks and clocks", Package: "e2e/faults", Pattern: "^Test(Disk|Clock)", Env: "PARLEY_DISK=full",
		About: "What is stored is made to fail under the checker's clients, and the clocks of single processes are moved by an hour, both ways; [what each comes to](../../deploy/DISKS_AND_CLOCKS.md) is written down for operators. `make disk` runs the same."},
	{Title: "The checker itself", Package: "e2e/check", Pattern: "^Test(RunAgainstLiar|Verify|Run|RunPastRetention)$",
		About: "A checker that finds nothing says something only if it finds what is put there: by a gateway that lies now and then, and by records in which one thing was changed."},
}

// OK says whether no test failed and there were some.
func (s *Suite) OK() bool { return len(s.Tests) > 0 && s.Count("fail") == 0 }

// Count counts the tests with an outcome, or all.
func (s *Suite) Count(outcome string) (n int) {
	for _, t := range s.Tests {
		if outcome == "" || t.Outcome == outcome {
			n++
		}
	}
	return n
}

// event is a line of what go test -json writes.
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

// ReadEvents reads what go test -json says of one package until it ends, writes
// on to text what people would have read, and gives what became of each test and
// its parts, in the order in which they began.
func ReadEvents(events io.Reader, text io.Writer) ([]Test, error) {
	var tests []Test
	at := make(map[string]int)
	for lines := json.NewDecoder(events); ; {
		var e event
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return tests, nil
		} else if err != nil {
			return nil, fmt.Errorf("what go test -json says: %w", err)
		}
		switch i, begun := at[e.Test]; {
		case e.Action == "output":
			if _, err := io.WriteString(text, e.Output); err != nil {
				return nil, err
			}
		case e.Test == "":
		case e.Action == "run":
			at[e.Test] = len(tests)
			tests = append(tests, Test{Name: e.Test, Outcome: "fail"}) // until it has said otherwise
		case begun && slices.Contains([]string{"pass", "fail", "skip"}, e.Action):
			tests[i].Outcome, tests[i].Seconds = e.Action, e.Elapsed
		}
	}
}

// Describe gives each test the first sentence of its comment in the package that
// lies in dir.
func Describe(tests []Test, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s: %w: no tests", dir, fs.ErrNotExist)
	}
	for _, path := range files {
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			i := slices.IndexFunc(tests, func(t Test) bool { return ok && t.Name == f.Name.Name })
			if i >= 0 {
				about := new(doc.Package).Synopsis(f.Doc.Text())
				tests[i].About = strings.TrimPrefix(about, f.Name.Name+" ")
			}
		}
	}
	return nil
}

// Whole are the tests without their parts.
func (s *Suite) Whole() []Test {
	return slices.DeleteFunc(slices.Clone(s.Tests), func(t Test) bool { return t.Part() != "" })
}

// Parts are the parts of one of the tests.
func (s *Suite) Parts(of Test) []Test {
	return slices.DeleteFunc(slices.Clone(s.Tests), func(t Test) bool { return t.Part() == "" || t.Of() != of.Name })
}

// Of is the name of the test that this one is or is a part of.
func (t Test) Of() string {
	of, _, _ := strings.Cut(t.Name, "/")
	return of
}

// Part is which part it is; empty where it is whole.
func (t Test) Part() string {
	_, part, _ := strings.Cut(t.Name, "/")
	return strings.ReplaceAll(part, "_", " ")
}

// Took is how long it took.
func (t Test) Took() time.Duration { return time.Duration(t.Seconds * float64(time.Second)) }
