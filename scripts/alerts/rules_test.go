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
	"github.com/prometheus/prometheus/template"
	"go.yaml.in/yaml/v3"
)

const deploy = "../../deploy/alerts/"

// tests is a file of tests, in the form that promtool reads.
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
				ExpLabels      map[string]string `yaml:"exp_labels"`
				ExpAnnotations map[string]string `yaml:"exp_annotations"`
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
					var want []alert
					for _, a := range expect.ExpAlerts {
						want = append(want, alert{labels.FromMap(a.ExpLabels), labels.FromMap(a.ExpAnnotations)})
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

// alert is one that fires.
type alert struct{ labels, annotations labels.Labels }

// firing evaluates a rule each interval up to a time, as Prometheus does, and
// gives the alerts that have been active for as long as the rule wants.
func firing(t *testing.T, rule rulefmt.Rule, series memory, end, interval time.Duration) []alert {
	t.Helper()
	since := make(map[string]time.Duration)
	var alerts []alert
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
			found := builder.Labels().Copy()
			key := found.String()
			began, was := since[key]
			if !was {
				began = at
			}
			active[key] = began
			if at-began >= time.Duration(rule.For) {
				alerts = append(alerts, alert{found, annotated(t, rule, s, at)})
			}
		}
		since = active
		query.Close()
	}
	return alerts
}

// annotated expands the rule's annotations for one of its alerts.
func annotated(t *testing.T, rule rulefmt.Rule, s promql.Sample, at time.Duration) labels.Labels {
	t.Helper()
	data := template.AlertTemplateData(s.Metric.Map(), nil, "", s)
	text := make(map[string]string)
	for name, annotation := range rule.Annotations {
		// Prometheus has these two before every annotation.
		expander := template.NewTemplateExpander(t.Context(), "{{$labels := .Labels}}{{$value := .Value}}"+annotation,
			rule.Alert, data, model.Time(at.Milliseconds()), nil, nil, nil)
		expanded, err := expander.Expand()
		if err != nil {
			t.Fatalf("%s: %s: %v", rule.Alert, name, err)
		}
		text[name] = expanded
	}
	return labels.FromMap(text)
}

func same(a, b []alert) bool {
	if len(a) != len(b) {
		return false
	}
	for _, one := range a {
		if !slices.ContainsFunc(b, func(other alert) bool {
			return labels.Equal(one.labels, other.labels) && labels.Equal(one.annotations, other.annotations)
		}) {
			return false
		}
	}
	return true
}
