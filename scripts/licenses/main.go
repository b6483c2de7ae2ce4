// Command licenses writes the list of the licences under which the modules are
// given that Parley's programs, clients and tests are built of (deploy/LICENSES.md),
// and fails where one of them is none that Parley may be given away with.
//
//	licenses           looks whether the list is fresh
//	licenses -write    writes it anew
//
// It reads what the go command would build here, and the licence files beside each
// package and above it, up to its module: some modules have parts that others wrote.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// allowed are the licences, by SPDX, that ask no more of who passes a program on
// than to pass their text on, too. MPL-2.0 also asks for the source of its own
// files where those were changed; no change of ours is in any.
var allowed = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// known is how much of a licence file has to be a licence, per cent. The rest is
// whose it is.
const known = 75

const list = "deploy/LICENSES.md"

// given is what is given away: all else is in tests alone.
var given = []string{"./services/cmd/...", "./pkg/sdk-go/..."}

func main() {
	write := flag.Bool("write", false, "write "+list+" anew")
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintf(os.Stderr, "licenses: %v\n", err)
		os.Exit(1)
	}
}

func run(write bool) error {
	all, err := modules("-test", "work")
	if err != nil {
		return err
	}
	shipped, err := modules(given...)
	if err != nil {
		return err
	}
	text, err := table(all, shipped)
	if err != nil {
		return err
	}
	if write {
		return os.WriteFile(list, text, 0o644)
	}
	before, err := os.ReadFile(list)
	if err == nil && !bytes.Equal(before, text) {
		err = errors.New(list + " is not what the modules say: run make gen")
	}
	return err
}

// module is one, with the folders of its packages.
type module struct {
	path, version, dir string
	folders            map[string]bool
}

// modules asks the go command what packages need. Our own are left out.
func modules(packages ...string) (map[string]*module, error) {
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=Dir,Module"}, packages...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	found := make(map[string]*module)
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir    string
			Module *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		if p.Module == nil || p.Module.Main { // the standard library's, and ours
			continue
		}
		m := found[p.Module.Path]
		if m == nil {
			m = &module{p.Module.Path, p.Module.Version, p.Module.Dir, make(map[string]bool)}
			found[m.path] = m
		}
		for dir := p.Dir; len(dir) >= len(m.dir); dir = filepath.Dir(dir) {
			m.folders[dir] = true
		}
	}
}

func table(all, shipped map[string]*module) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`# Licences

Of the modules that Parley's programs and its Go client are built of ("given"), and of those that only its tests need. The TypeScript client
has none. Written by scripts/list-licenses, which also says which licences may be here; why each direct one is: [ADR 16](../services/adr/0016-dependencies.md).

| module | version | licence | |
| --- | --- | --- | --- |
`)
	var failed []error
	for _, path := range slices.Sorted(maps.Keys(all)) {
		m, where := all[path], "tests"
		if shipped[path] != nil {
			where = "given"
		}
		licences, err := m.licences()
		if err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", path, m.version, strings.Join(licences, ", "), where)
	}
	return b.Bytes(), errors.Join(failed...)
}

var licenceFile = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying)([-_.].*)?$`)

// licences gives the licences of a module, by SPDX.
func (m *module) licences() ([]string, error) {
	found := make(map[string]bool)
	for folder := range m.folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if entry.IsDir() || !licenceFile.MatchString(entry.Name()) || strings.HasSuffix(entry.Name(), ".go") {
				continue
			}
			path := filepath.Join(folder, entry.Name())
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			scan := licensecheck.Scan(text)
			if scan.Percent < known {
				return nil, fmt.Errorf("%s: %.0f %% of it are a licence that is known", path, scan.Percent)
			}
			for _, match := range scan.Match {
				if !slices.Contains(allowed, match.ID) {
					return nil, fmt.Errorf("%s: %s is none of %s", path, match.ID, strings.Join(allowed, ", "))
				}
				found[match.ID] = true
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s %s has no licence file in %s", m.path, m.version, m.dir)
	}
	return slices.Sorted(maps.Keys(found)), nil
}
