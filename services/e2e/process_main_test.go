package e2e

import (
	"os"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/process"
)

func TestMain(m *testing.M) {
	status := m.Run()
	process.Clean()
	os.Exit(status)
}
