package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/e2e/internal/ask"
	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// TestProcessMetrics scrapes all of Parley after real chat: what every metric is
// called and labelled with, and that dashboards and alerts ask for none that
// there is not.
func TestProcessMetrics(t *testing.T) {
	p := serve(t, "PARLEY_EVENTS=on", "PARLEY_MAX_CONNECTIONS=3")
	p.WaitReady()
	alice, bob := client.Dial(t, p.url, client.Options{}), client.Dial(t, p.url, client.Options{})
	alice.SignIn(stack.Token(t, p.url, "alice"))
	bob.SignIn(stack.Token(t, p.url, "bob"))
	alice.Join("general")
	bob.Join("general")
	chatting(t, "general", "hello", alice, bob)
	alice.AskError(ask.JoinRoom(&wirev1.JoinRoom{RoomId: "no room"}), "invalid-argument")
	t.Run("full", func(t *testing.T) { testFull(t, p) })
	gone := client.Dial(t, p.url, client.Options{})
	gone.SendRaw(websocket.MessageBinary, []byte("not what JSON clients send"))
	gone.Closed()
	var families map[string]*dto.MetricFamily
	var text string
	process.Eventually(t, recovery, "all has been counted", func() error {
		_, body, err := process.Get(p.Admin + "/metrics")
		if err != nil {
			return err
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		text = body
		if families, err = parser.TextToMetricFamilies(strings.NewReader(body)); err != nil {
			return err
		}
		for _, name := range []string{"parley_gateway_closes_total", "parley_bus_round_trip_duration_seconds", "parley_events_stored_total"} {
			if families[name] == nil {
				return fmt.Errorf("no %s", name)
			}
		}
		if counter(families, "parley_gateway_closes_total", "code", "1003") < 0 {
			return errors.New("the newest close is not counted")
		}
		return nil
	})
	t.Run("names and units", func(t *testing.T) { testNames(t, text, families) })
	t.Run("labels", func(t *testing.T) { testLabels(t, families) })
	t.Run("what was counted", func(t *testing.T) { testCounted(t, families) })
	asked := make(map[string][]string) // name, to the files that ask for it
	t.Run("dashboards", func(t *testing.T) { readDashboards(t, asked) })
	t.Run("alerts", func(t *testing.T) { readAlerts(t, asked) })
	names := series(families)
	for name, files := range asked {
		if !names[name] {
			t.Errorf("%v: there is no metric %s", files, name)
		}
	}
}

// testFull: a gateway that is full is ready, and says that it wants no more; it
// has room for one more connection now, and in the end.
func testFull(t *testing.T, p serving) {
	accepts := func(status int, full string) {
		t.Helper()
		process.Eventually(t, recovery, "/acceptz tells whether it is full", func() error {
			got, body, err := process.Get(p.Admin + "/acceptz")
			if err != nil || got != status || !strings.Contains(body, `"full": `+full) {
				return fmt.Errorf("%d %s %v", got, body, err)
			}
			return nil
		})
	}
	accepts(http.StatusOK, "false")
	last := client.Dial(t, p.url, client.Options{})
	last.Want("welcome")
	accepts(http.StatusServiceUnavailable, "true")
	if status, body, err := process.Get(p.Admin + "/readyz"); err != nil || status != http.StatusOK || !strings.Contains(body, `"full": true`) {
		t.Errorf("/readyz while full: %d %s %v", status, body, err)
	}
	if code := client.Dial(t, p.url, client.Options{}).Closed(); code != 1013 {
		t.Errorf("beyond the limit: closed with %d", code)
	}
	last.Close()
	accepts(http.StatusOK, "false")
}

// testNames: Prometheus' own rules, and all that is ours says whose it is.
func testNames(t *testing.T, text string, families map[string]*dto.MetricFamily) {
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "parley_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for name, f := range families {
		if !strings.HasPrefix(name, "parley_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && name != "target_info" {
			t.Errorf("%s is nobody's", name)
		}
		if strings.HasPrefix(name, "parley_") && f.GetHelp() == "" {
			t.Errorf("%s: no help", name)
		}
		if f.GetType() == dto.MetricType_HISTOGRAM && !strings.HasSuffix(name, "_seconds") {
			t.Errorf("%s: a histogram of anything but time has buckets of its own, and this test is to know of it", name)
		}
	}
}

// labelled are the labels there may be. A room, a user or a connection is not
// among them: each of their values is a series that Prometheus keeps.
var labelled = []string{"le", "code", "method", "service", "direction", "queue", "cause", "issuer", "event", "outcome"}

// mostSeries bounds the series of one metric. Those of calls have the most: one
// for each method and code.
const mostSeries = 200

func testLabels(t *testing.T, families map[string]*dto.MetricFamily) {
	for name, f := range families {
		if !strings.HasPrefix(name, "parley_") {
			continue
		}
		if n := len(f.Metric); n > mostSeries {
			t.Errorf("%s has %d series", name, n)
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if !slices.Contains(labelled, l.GetName()) {
					t.Errorf("%s has the label %s", name, l.GetName())
				}
				for _, of := range []string{"general", "alice", "bob"} {
					if strings.Contains(l.GetValue(), of) {
						t.Errorf("%s: %s=%q", name, l.GetName(), l.GetValue())
					}
				}
			}
		}
	}
}

func testCounted(t *testing.T, families map[string]*dto.MetricFamily) {
	for _, name := range []string{"parley_gateway_publish_latency_seconds", "parley_gateway_delivery_latency_seconds"} {
		if n := families[name].GetMetric()[0].GetHistogram().GetSampleCount(); n != 2 {
			t.Errorf("%s has %d samples, want one for each message", name, n)
		}
	}
	for _, name := range []string{"parley_gateway_join_duration_seconds", "parley_gateway_queue_wait_seconds", "parley_bus_round_trip_duration_seconds"} {
		if n := families[name].GetMetric()[0].GetHistogram().GetSampleCount(); n == 0 {
			t.Errorf("%s has no sample", name)
		}
	}
	for _, c := range []struct {
		name, label, is string
		want            float64
	}{
		{"parley_gateway_closes_total", "code", "1003", 1},
		{"parley_gateway_errors_total", "code", "invalid-argument", 1},
		{"parley_gateway_connections_refused_total", "cause", "full", 1},
		{"parley_rpc_client_calls_total", "code", "ok", -2},
	} {
		if got := counter(families, c.name, c.label, c.is); c.want == -2 && got <= 0 || c.want != -2 && got != c.want {
			t.Errorf("%s{%s=%q} is %g, want %g", c.name, c.label, c.is, got, c.want)
		}
	}
}

// counter is the value of one series, -1 where there is none.
func counter(families map[string]*dto.MetricFamily, name, label, is string) float64 {
	for _, m := range families[name].GetMetric() {
		for _, l := range m.Label {
			if l.GetName() == label && l.GetValue() == is {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

// series gives the names that a query may ask for.
func series(families map[string]*dto.MetricFamily) map[string]bool {
	names := map[string]bool{"up": true} // Prometheus' own
	for name, f := range families {
		names[name] = true
		if kind := f.GetType(); kind == dto.MetricType_HISTOGRAM || kind == dto.MetricType_SUMMARY {
			names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
		}
	}
	return names
}

// metricName finds metrics in an expression: what begins as ours or the
// runtime's do.
var metricName = regexp.MustCompile(`\b(?:parley|go|process)_[a-z0-9_]+\b|\bup\b`)

func note(asked map[string][]string, file, expression string) (found int) {
	for _, name := range metricName.FindAllString(expression, -1) {
		if !slices.Contains(asked[name], file) {
			asked[name] = append(asked[name], file)
		}
		found++
	}
	return found
}

const deploy = "../../deploy/"

func readDashboards(t *testing.T, asked map[string][]string) {
	files, err := filepath.Glob(deploy + "grafana/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	uids := make(map[string]string)
	for _, path := range files {
		name := filepath.Base(path)
		raw, err := os.ReadFile(path)
		var dashboard struct {
			UID, Title string
			Panels     []struct {
				Type, Title, Description string
				Datasource               struct{ UID string }
				Targets                  []struct{ Expr string }
				FieldConfig              struct{ Defaults struct{ Unit string } }
			}
			Templating struct {
				List []struct{ Name, Query string }
			}
		}
		if err = errors.Join(err, json.Unmarshal(raw, &dashboard)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if other := uids[dashboard.UID]; dashboard.UID == "" || dashboard.Title == "" || other != "" {
			t.Errorf("%s: uid %q, title %q; %s has the same", name, dashboard.UID, dashboard.Title, other)
		}
		uids[dashboard.UID] = name
		for _, p := range dashboard.Panels {
			if p.Type == "row" {
				continue
			}
			if p.Title == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
				t.Errorf("%s: panel %q has no title, unit, data source of the dashboard's choice, or query", name, p.Title)
			}
			for _, target := range p.Targets {
				if note(asked, name, target.Expr) == 0 {
					t.Errorf("%s: panel %q asks for no metric: %s", name, p.Title, target.Expr)
				}
			}
		}
		for _, v := range dashboard.Templating.List {
			note(asked, name, v.Query)
		}
	}
}

// rule is one alert.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func readAlerts(t *testing.T, asked map[string][]string) {
	files, err := filepath.Glob(deploy + "alerts/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of alerts, %v", len(files), err)
	}
	pages := make(map[string]bool)
	for _, path := range files {
		name := filepath.Base(path)
		raw, err := os.ReadFile(path)
		var file struct {
			Groups []struct {
				Name  string
				Rules []rule
			}
		}
		if err = errors.Join(err, yaml.Unmarshal(raw, &file)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				if note(asked, name, r.Expr) == 0 {
					t.Errorf("%s: %s asks for no metric", name, r.Alert)
				}
				if s := r.Labels["severity"]; s != "page" && s != "ticket" {
					t.Errorf("%s: %s has the severity %q", name, r.Alert, s)
				}
				if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
					t.Errorf("%s: %s says too little", name, r.Alert)
				}
				// The page is found in the repository and by the address.
				page := "runbooks/" + r.Alert + ".md"
				pages[r.Alert+".md"] = true
				text, err := os.ReadFile(deploy + page)
				if err != nil || !strings.HasPrefix(string(text), "# "+r.Alert+"\n") {
					t.Errorf("%s: %s has no page: %v", name, r.Alert, err)
				}
				if !strings.HasSuffix(r.Annotations["runbook_url"], "/deploy/"+page) {
					t.Errorf("%s: %s has the runbook_url %q", name, r.Alert, r.Annotations["runbook_url"])
				}
			}
		}
	}
	written, err := filepath.Glob(deploy + "runbooks/Parley*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range written {
		if !pages[filepath.Base(path)] {
			t.Errorf("%s is of no alert (there are %v)", path, slices.Sorted(maps.Keys(pages)))
		}
	}
}
