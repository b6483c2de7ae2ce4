package process

import (
	"testing"

	"github.com/parley-im/parley/pkg/loopback"
)

// Addr gives a loopback address that nobody listens on and that is given to
// nobody else in this run.
func Addr(t testing.TB) string {
	t.Helper()
	return loopback.For(t)
}
