package test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestMonitoring: what is watched with the chart is what deploy has, every alert
// and every dashboard of it.
func TestMonitoring(t *testing.T) {
	r := reading(t, "monitoring: {rules: {enabled: true}, dashboards: {enabled: true}}")
	alerts := func(groups []monitoringv1.RuleGroup) map[string]string {
		exprs := make(map[string]string)
		for _, g := range groups {
			for _, rule := range g.Rules {
				exprs[rule.Alert] = rule.Expr.String()
			}
		}
		return exprs
	}
	text, err := os.ReadFile("../../deploy/alerts/parley.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(text, &want); err != nil {
		t.Fatal(err)
	}
	rules := all[monitoringv1.PrometheusRule](t, r, "PrometheusRule")
	if len(rules) != 1 || len(want.Groups) == 0 || !maps.Equal(alerts(rules[0].Spec.Groups), alerts(want.Groups)) {
		t.Errorf("of the alerts %v there are %v", alerts(want.Groups), rules)
	}
	files, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no dashboards", err)
	}
	boards := all[corev1.ConfigMap](t, r, "ConfigMap")
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(boards, func(c *corev1.ConfigMap) bool {
			return c.Labels["grafana_dashboard"] == "1" && bytes.Equal(bytes.TrimSpace([]byte(c.Data[filepath.Base(file)])), bytes.TrimSpace(content))
		}) {
			t.Errorf("%s is in no ConfigMap", file)
		}
	}
}
