package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A directory is one server's at a time.
func TestDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	first, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if second, err := Start(Options{Dir: dir}); !errors.Is(err, errInUse) {
		if err == nil {
			second.Shutdown()
		}
		t.Errorf("a second server on the same files: %v", err)
	}
	first.Shutdown()
	again, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	again.Shutdown()
}

// What keeps the server from starting is told, and is not waited for.
func TestWhyItDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s, err := Start(Options{Dir: dir})
	if err == nil {
		s.Shutdown()
		t.Fatal("it started on a file")
	}
	if waited := time.Since(began) >= readyTimeout; waited || !strings.Contains(err.Error(), "JetStream") {
		t.Errorf("waited to the end: %v: %v", waited, err)
	}
}
