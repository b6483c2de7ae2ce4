package program

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// Settings that the Helm chart makes itself of other values; its schema refuses
// them.
var ofTheChart = []string{
	"admin-addr", "http-addr", "grpc-addr", "auth-addr", "registry-addr", "history-addr", "presence-addr", "events-addr",
	"dev", "service-token", "service-cert", "service-key", "service-ca", "service-name", "service-peers",
	"admin-token", "backend-token", "callers-file", "jwt-secret", "issuers-file", "hook-token", "hook-ca", "hook-cert", "hook-key",
	"nats-url", "nats-user", "nats-password", "nats-credentials", "nats-nkey", "nats-ca", "nats-cert", "nats-key",
	"nats-synced", "replicas",
}

// TestChartKnowsSettings: who adds a setting adds it to the chart's schema too
// (properties, the program, config), and who takes one away, there as well.
func TestChartKnowsSettings(t *testing.T) {
	text, err := os.ReadFile("../../../../charts/parley/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct {
			Properties struct {
				Config struct {
					Properties map[string]any `json:"properties"`
				} `json:"config"`
			} `json:"properties"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for name, settings := range map[string]func(*Program){
		"gateway":  func(p *Program) { p.Gateway() },
		"auth":     func(p *Program) { p.Auth() },
		"registry": func(p *Program) { p.Registry() },
		"history":  func(p *Program) { p.History() },
		"presence": func(p *Program) { p.Presence() },
		"events":   func(p *Program) { p.Events() },
	} {
		p := New(name, "")
		settings(p)
		p.nats.settings(p.Set)
		known := schema.Properties[name].Properties.Config.Properties
		names := slices.DeleteFunc(p.Set.Names(), func(name string) bool {
			return slices.Contains(ofTheChart, strings.TrimSuffix(name, "-file")) || slices.Contains(ofTheChart, name)
		})
		for _, setting := range names {
			if known[setting] == nil {
				t.Errorf("values.schema.json does not have %s's setting %s", name, setting)
			}
		}
		for setting := range known {
			if !slices.Contains(names, setting) {
				t.Errorf("values.schema.json has %s among %s's settings, which is not or the chart's own", setting, name)
			}
		}
	}
}
