package embedded

import (
	"errors"
	"testing"
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
