package main

import (
	"encoding/json"
	"io"
	"os"

	"github.com/parley-im/parley/pkg/run"
)

// report is what a command has found out.
type report interface {
	WriteText(io.Writer) error
	// OK says whether all is as it should be.
	OK() bool
}

// give writes a report to standard output, as text or as JSON. A report that is
// not OK makes the command exit with 1.
func give(r report, asJSON bool) error {
	var err error
	if asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		err = out.Encode(r)
	} else {
		err = r.WriteText(os.Stdout)
	}
	if err == nil && !r.OK() {
		err = run.ExitCode(1) // the report has told why
	}
	return err
}
