package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/process"
)

// parley check, pointed at a deployment, finds nothing wrong with it and says
// so; pointed at nothing, it does not.
func TestProcessCheck(t *testing.T) {
	p := serve(t)
	p.WaitReady()
	check := func(args ...string) ([]byte, int) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), process.Binary(t, process.Parley), append([]string{"check"}, args...)...)
		out, err := cmd.Output()
		var status *exec.ExitError
		if err != nil && !errors.As(err, &status) {
			t.Fatal(err)
		}
		if status != nil {
			t.Logf("stderr: %s", status.Stderr)
		}
		return out, cmd.ProcessState.ExitCode()
	}
	out, status := check("--url", p.url, "--rooms", "3", "--writers", "4", "--rate", "100", "--duration", "2s", "--json")
	var report struct {
		Acked, Delivered, Stored int
		Counts                   map[string]int
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if status != 0 || report.Acked < 50 || report.Stored != report.Acked || report.Delivered < 3*report.Acked || len(report.Counts) > 0 {
		t.Errorf("exit status %d, report %+v", status, report)
	}
	if out, status := check("--url", p.url[len("http://"):]); status == 0 {
		t.Errorf("a wrong address ends with status 0: %s", out)
	}
}
