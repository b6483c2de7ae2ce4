package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// The programs, by the name that Start takes.
const (
	NATS     = "nats-server"
	Auth     = "auth"
	Registry = "registry"
	History  = "history"
	Presence = "presence"
	Events   = "events"
	Gateway  = "gateway"
	// Parley is built without the race detector always, for its start is timed.
	Parley = "parley"
)

const module = "github.com/parley-im/parley/services/"

// dir is where the programs lie, empty while nobody has asked for one.
var dir string

// built makes them at the first call.
var built = sync.OnceValue(func() error {
	var err error
	if dir, err = os.MkdirTemp("", "parley-programs-"); err != nil {
		return err
	}
	services := []string{module + "cmd/" + Auth, module + "cmd/" + Registry, module + "cmd/" + History,
		module + "cmd/" + Presence, module + "cmd/" + Events, module + "cmd/" + Gateway}
	plain := []string{module + "cmd/" + Parley, "github.com/nats-io/nats-server/v2"}
	if !raceDetector {
		return Build(".", dir, append(services, plain...)...)
	}
	// The programs have the race detector where this test has it, for which their
	// packages are compiled already.
	return errors.Join(Build(".", dir, plain...), compile(os.Environ(), services, "build", "-race", "-buildvcs=false", "-o", dir))
})

// Build builds programs of the source tree that from is in, and with the flags
// of deploy/Dockerfile, so that nothing is compiled twice for a test of images
// or of another version.
func Build(from, into string, packages ...string) error {
	return compile(append(os.Environ(), "CGO_ENABLED=0"), packages, "build", "-C", from, "-trimpath", "-buildvcs=false", "-o", into)
}

func compile(env, packages []string, args ...string) error {
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

var told sync.Once

// Binary gives the path of a program.
func Binary(t testing.TB, program string) string {
	t.Helper()
	if err := built(); err != nil {
		told.Do(func() { t.Error(err) }) // the compiler's words once
		t.Fatal("the programs could not be built")
	}
	return filepath.Join(dir, program)
}

// Clean removes the programs. It is what TestMain calls last.
func Clean() {
	if dir != "" {
		_ = os.RemoveAll(dir) // what is left lies among the temporary files
	}
}
