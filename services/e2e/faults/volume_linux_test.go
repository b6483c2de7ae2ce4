package faults

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// volume is a small disk of its own, which can be full and read-only.
type volume struct {
	t   testing.TB
	dir string
}

// mount makes a volume of some bytes; nil where only root can, and who asked
// says what is not tested.
func mount(t testing.TB, dir string, size int64) *volume {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	v := &volume{t, dir}
	if err := syscall.Mount("parley-test", dir, "tmpfs", 0, options(size)); err != nil {
		t.Logf("mounting a tmpfs as root: %v", err) // a container without CAP_SYS_ADMIN
		return nil
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return v
}

func options(size int64) string { return fmt.Sprintf("size=%d,mode=0700", size) }

// resize gives the volume another size, which is not less than it holds.
func (v *volume) resize(size int64) {
	v.t.Helper()
	if err := syscall.Mount("", v.dir, "", syscall.MS_REMOUNT, options(size)); err != nil {
		v.t.Fatalf("resizing %s: %v", v.dir, err)
	}
}

// readOnly changes whether the volume can be written to; nobody has it open.
func (v *volume) readOnly(on bool) {
	v.t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if on {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("", v.dir, "", flags, ""); err != nil {
		v.t.Fatalf("remounting %s: %v", v.dir, err)
	}
}

// used is how many bytes it holds.
func (v *volume) used() int64 {
	v.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(v.dir, &s); err != nil {
		v.t.Fatal(err)
	}
	return int64(s.Blocks-s.Bfree) * s.Bsize
}

// fill leaves no room for anything more.
func (v *volume) fill() { v.t.Helper(); v.resize(v.used()) }
