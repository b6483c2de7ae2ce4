// Package check holds what is in deploy against the libraries of those tools that
// read it. It has tests alone.
package check

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// secrets are what compose.yaml asks for and has no default for.
var secrets = []string{"PARLEY_SERVICE_TOKEN=a token that only tests have", "PARLEY_NATS_PASSWORD=0123456789e10", "GRAFANA_PASSWORD=a password"}

func load(env []string) (*types.Project, error) {
	o, err := cli.NewProjectOptions([]string{filepath.Join("..", "compose.yaml")}, cli.WithEnv(env), cli.WithInterpolation(true), cli.WithResolvedPaths(true))
	if err != nil {
		return nil, err
	}
	return o.LoadProject(context.Background())
}

// compose.yaml is valid, its files are there, and services with replicas have no
// fixed port on the host, of which there is one.
func TestCompose(t *testing.T) {
	project, err := load(secrets)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nats-1", "nats-2", "nats-3", "gateway", "auth", "registry", "history", "presence", "haproxy", "prometheus", "grafana", "otel-collector"} {
		if _, ok := project.Services[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
	for _, files := range []string{"../grafana/*.json", "../alerts/*.yaml"} {
		if found, err := filepath.Glob(files); len(found) == 0 || err != nil {
			t.Errorf("there are no %s for Grafana and Prometheus: %v", files, err)
		}
	}
	gateway := project.Services["gateway"]
	if n := gateway.GetScale(); n != 2 {
		t.Errorf("%d gateways, want 2", n)
	}
	for name, s := range project.Services {
		for _, p := range s.Ports {
			if p.Published != "" && (s.GetScale() > 1 || s.Build != nil) {
				t.Errorf("%s has the host's port %s, and may have replicas", name, p.Published)
			}
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s.Build == nil {
			if tag := s.Image[strings.LastIndex(s.Image, ":")+1:]; !strings.Contains(s.Image, ":") || tag == "latest" {
				t.Errorf("%s: %s is of no fixed version", name, s.Image)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" {
			t.Errorf("%s may write or has capabilities", name)
		}
	}
}

// No secret of compose.yaml has a default.
func TestComposeSecrets(t *testing.T) {
	for i, secret := range secrets {
		name, _, _ := strings.Cut(secret, "=")
		without := append(append([]string{}, secrets[:i]...), secrets[i+1:]...)
		if _, err := load(without); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// Every program takes the settings that compose.yaml gives it.
func TestComposeSettings(t *testing.T) {
	project, err := load(secrets)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, s := range project.Services {
		if s.Build == nil {
			continue
		}
		program := *s.Build.Args["PROGRAM"]
		build(t, dir, "./cmd/"+program)
		cmd := exec.Command(filepath.Join(dir, program), "--check-config")
		for key, value := range s.Environment {
			if value != nil {
				cmd.Env = append(cmd.Env, key+"="+*value)
			}
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		cmd.Env = append(cmd.Env, "PARLEY_NO_SUCH_SETTING=1")
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s takes anything: %s", name, out)
		}
	}
}

// NATS takes the configuration that compose.yaml gives its nodes, and a password
// which looks like a number.
func TestComposeNATS(t *testing.T) {
	project, err := load(secrets)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	build(t, dir, "github.com/nats-io/nats-server/v2")
	for _, name := range []string{"nats-1", "nats-2", "nats-3"} {
		s := project.Services[name]
		cmd := exec.Command(filepath.Join(dir, "nats-server"), "-t", "--config", s.Volumes[0].Source)
		cmd.Env = []string{"HOSTNAME=" + s.Hostname}
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s: starts without a password: %s", name, out)
		}
		cmd = exec.Command(cmd.Path, cmd.Args[1:]...)
		cmd.Env = []string{"HOSTNAME=" + s.Hostname, "NATS_PASSWORD=" + *s.Environment["NATS_PASSWORD"]}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// build builds a program of the workspace, as the tests of the whole product
// build it, so that nothing is compiled twice.
func build(t *testing.T, dir, program string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-C", filepath.Join("..", "..", "services"), "-trimpath", "-buildvcs=false", "-o", dir, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
