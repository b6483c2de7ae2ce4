package structure

import (
	"fmt"
	"strings"
)

const (
	module = "github.com/parley-im/parley/"
	// longest is how many lines a file may have that is written by hand.
	longest = 600
)

// source is a package as the rules see it.
type source struct {
	// path is its import path without module.
	path string
	// imports are what it imports outside of tests, ours without module.
	imports []string
	// documented tells whether a file has a package comment, and generated
	// whether no file is written by hand.
	documented, generated bool
}

// doors are imported by the packages named, and those below them, alone.
var doors = []struct {
	imported string
	by       []string
}{
	{"github.com/nats-io", []string{"pkg/bus"}},
	{"github.com/coder/websocket", []string{"services/gateway/internal/conn", "pkg/sdk-go"}},
}

// contracts are all that proto may import beside itself and the standard
// library.
var contracts = []string{"google.golang.org/protobuf", "google.golang.org/grpc"}

// under tells whether path is root or lies below it.
func under(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func underAny(path string, roots []string) bool {
	for _, root := range roots {
		if under(path, root) {
			return true
		}
	}
	return false
}

// service gives the service that a package belongs to, empty for all that is
// none: the programs, which put services together, and what tests them.
func service(path string) string {
	rest, ok := strings.CutPrefix(path, "services/")
	if !ok || exempt(path) || under(path, "services/cmd") {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// exempt tells whether a package may import what it likes: tests of the whole
// product with their load tools, and examples.
func exempt(path string) bool {
	return under(path, "services/e2e") || strings.Contains("/"+path+"/", "/examples/")
}

// broken gives the rules that a package breaks.
func broken(p source) []string {
	var found []string
	if !p.documented && !p.generated {
		found = append(found, p.path+" has no package comment")
	}
	if exempt(p.path) {
		return found
	}
	for _, imported := range p.imports {
		if why := wall(p.path, imported); why != "" {
			found = append(found, fmt.Sprintf("%s imports %s: %s", p.path, imported, why))
		}
	}
	return found
}

// wall tells what keeps a package from importing another, if something does.
func wall(path, imported string) string {
	for _, d := range doors {
		if under(imported, d.imported) && !underAny(path, d.by) {
			return "only " + strings.Join(d.by, " and ") + " may"
		}
	}
	standard := !strings.Contains(strings.Split(imported, "/")[0], ".") && !ours(imported)
	from, to := service(path), service(imported)
	switch {
	case under(path, "proto") && !standard && !under(imported, "proto") && !underAny(imported, contracts):
		return "contracts need protobuf and gRPC alone"
	case under(path, "pkg") && under(imported, "services"):
		return "what services share knows none of them"
	case from != "" && to != "" && from != to:
		return "services meet in proto and pkg, never in each other"
	case from != "" && (under(imported, "services/cmd") || under(imported, "services/e2e")):
		return "a service is a library and knows neither its program nor its tests"
	}
	return ""
}

// ours tells whether an import path, without module, is of this repository.
func ours(path string) bool {
	return under(path, "pkg") || under(path, "proto") || under(path, "services")
}
