package alerts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// variables are what Grafana puts in place of a dashboard's own.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$namespace", ".*", "$instance", ".*")

// TestDashboards: what panels ask for is a query. That its metrics are there
// is tested with Parley itself.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(raw, &dashboard); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				query := variables.Replace(target.Expr)
				if strings.Contains(query, "$") {
					t.Errorf("%s: %s: a variable that is not there: %s", path, panel.Title, target.Expr)
				} else if _, err := syntax.ParseExpr(query); err != nil {
					t.Errorf("%s: %s: %v", path, panel.Title, err)
				}
			}
		}
	}
}
