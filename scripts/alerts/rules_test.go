package alerts

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const deploy = "../../deploy/alerts/"

// tests is a file of tests, in the form that promtool reads. Annotations are
// not compared.
type tests struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []struct {
		Name        string         `yaml:"name"`
		Interval    model.Duration `yaml:"interval"`
		InputSeries []struct {
			Series string `yaml:"series"`
			Values string `yaml:"values"`
		} `yaml:"input_series"`
		AlertRuleTest []struct {
			EvalTime  model.Duration `yaml:"eval_time"`
			Alertname string         `yaml:"alertname"`
			ExpAlerts []struct {
				ExpLabels map[string]string `yaml:"exp_labels"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	} `yaml:"tests"`
}

// TestRules: every rule is one that Prometheus takes, and a test has seen it
// fire and not fire.
func TestRules(t *testing.T) {
	files, err := filepath.Glob(deploy + "tests/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of tests, %v", len(files), err)
	}
	fired, silent := make(map[string]bool), make(map[string]bool)
	tested := make(map[string]bool) // files of rules
	var rules map[string]rulefmt.Rule
	for _, path := range files {
		var file tests
		read(t, path, &file)
		rules = make(map[string]rulefmt.Rule)
		for _, name := range file.RuleFiles {
			name = filepath.Join(filepath.Dir(path), name)
			tested[filepath.Base(name)] = true
			parse(t, name, rules)
		}
		for _, test := range file.Tests {
			t.Run(test.Name, func(t *testing.T) {
				var series memory
				for _, s := range test.InputSeries {
					if err := series.add(syntax, s.Series, s.Values, time.Duration(test.Interval)); err != nil {
						t.Fatalf("%s: %v", s.Series, err)
					}
				}
				for _, expect := range test.AlertRuleTest {
					rule, known := rules[expect.Alertname]
					if !known {
						t.Fatalf("there is no rule %s", expect.Alertname)
					}
					var want []labels.Labels
					for _, a := range expect.ExpAlerts {
						want = append(want, labels.FromMap(a.ExpLabels))
					}
					got := firing(t, rule, series, time.Duration(expect.EvalTime), time.Duration(file.EvaluationInterval))
					if !same(got, want) {
						t.Errorf("%s after %s: firing %v, want %v", expect.Alertname, expect.EvalTime, got, want)
					}
					fired[expect.Alertname] = fired[expect.Alertname] || len(got) > 0
					silent[expect.Alertname] = silent[expect.Alertname] || len(got) == 0
				}
			})
		}
		for name := range rules {
			if !fired[name] || !silent[name] {
				t.Errorf("%s: seen firing %v, seen silent %v", name, fired[name], silent[name])
			}
		}
	}
	all, err := filepath.Glob(deploy + "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if !tested[filepath.Base(path)] {
			t.Errorf("%s is not tested", path)
		}
	}
}

var (
	syntax = parser.NewParser(parser.Options{})
	engine = promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: syntax,
	})
)

func read(t *testing.T, path string, to any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func parse(t *testing.T, path string, into map[string]rulefmt.Rule) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(raw, false, model.UTF8Validation, syntax, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Errorf("%s: %v", path, err)
	}
	if groups == nil {
		t.FailNow()
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.KeepFiringFor != 0 {
				t.Fatalf("%s: %s%s: this test knows only alerts without keep_firing_for", path, r.Record, r.Alert)
			}
			if _, twice := into[r.Alert]; twice {
				t.Errorf("%s: %s is there twice", path, r.Alert)
			}
			into[r.Alert] = r
		}
	}
}

// firing evaluates a rule each interval up to a time, as Prometheus does, and
// gives the alerts that have been active for as long as the rule wants.
func firing(t *testing.T, rule rulefmt.Rule, series memory, end, interval time.Duration) []labels.Labels {
	t.Helper()
	since := make(map[string]time.Duration)
	var alerts []labels.Labels
	for at := time.Duration(0); at <= end; at += interval {
		query, err := engine.NewInstantQuery(t.Context(), series, nil, rule.Expr, time.UnixMilli(at.Milliseconds()))
		if err != nil {
			t.Fatal(err)
		}
		result := query.Exec(t.Context())
		found, err := result.Vector()
		if err != nil {
			t.Fatal(err)
		}
		active := make(map[string]time.Duration)
		alerts = nil
		for _, s := range found {
			builder := labels.NewBuilder(s.Metric)
			builder.Del(model.MetricNameLabel)
			for name, value := range rule.Labels {
				builder.Set(name, value)
			}
			alert := builder.Labels()
			key := alert.String()
			began, was := since[key]
			if !was {
				began = at
			}
			active[key] = began
			if at-began >= time.Duration(rule.For) {
				alerts = append(alerts, alert.Copy())
			}
		}
		since = active
		query.Close()
	}
	return alerts
}

func same(a, b []labels.Labels) bool {
	if len(a) != len(b) {
		return false
	}
	for _, one := range a {
		if !slices.ContainsFunc(b, func(other labels.Labels) bool { return labels.Equal(one, other) }) {
			return false
		}
	}
	return true
}
