//go:build !(linux && amd64)

package process

import (
	"testing"
	"time"
)

// SetClock sets a process's clock, which only Linux on amd64 can.
func (p *Process) SetClock(time.Duration) {
	p.t.Helper()
	p.t.Fatal("the clock of one process can be set on Linux on amd64 only")
}

// NeedClocks skips a test where SetClock cannot be had.
func NeedClocks(t testing.TB) {
	t.Helper()
	t.Skip("NOT TESTED HERE: the clock of one process can be set on Linux on amd64 only")
}
