package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// errInUse says that another process has the directory.
var errInUse = errors.New("in use by another process")

// lock takes a directory for this process: two servers on the same files would
// destroy them, and JetStream does not look. The lock is the operating system's
// and ends with the process, however that ends; the file stays and means
// nothing.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	return f, nil
}
