package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// A program of Parley as a configuration runs it.
type programPod struct {
	name string // "gateway"
	pod  pod
	file string // what --config names
	r    *rendered
}

// programs gives those that are run, by name.
func programs(t testing.TB, r *rendered) map[string]programPod {
	t.Helper()
	found := make(map[string]programPod)
	for _, p := range pods(t, r) {
		name := p.Labels["app.kubernetes.io/component"]
		if name == "nats" || name == "check" {
			continue
		}
		file := find[corev1.ConfigMap](t, r, "ConfigMap", strings.TrimPrefix(p.workload, "Deployment/")).Data["config.yaml"]
		if file == "" {
			t.Fatalf("%s has no config.yaml", name)
		}
		found[name] = programPod{name, p, file, r}
	}
	if len(found) < 5 {
		t.Fatalf("only %d programs", len(found))
	}
	return found
}

type settings map[string]any

func (p programPod) settings(t testing.TB) settings {
	t.Helper()
	s := make(settings)
	if err := yaml.UnmarshalStrict([]byte(p.file), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s settings) duration(t testing.TB, name string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(fmt.Sprint(s[name]))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// built makes the programs, once, in the workspace that they are of, and as the
// tests of the whole product do, so that nothing is compiled twice.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "parley-chart-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir+string(filepath.Separator), "./services/cmd/...", "github.com/nats-io/nats-server/v2")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "GOWORK=", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := built(); dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func binary(t testing.TB, program string) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, program)
}

// TestPrograms has every program check the settings that it is given, with all
// its files and secrets in place.
func TestPrograms(t *testing.T) {
	secrets := newSecrets(t)
	matrix(t, func(t *testing.T, r *rendered) {
		for name, p := range programs(t, r) {
			cmd := place(t, r, p.pod, t.TempDir(), secrets).command(t.Context(), binary(t, name), "--check-config")
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "configuration ok") {
				t.Errorf("%s: %v\n%s\n%s", name, err, out, p.file)
			}
		}
	})
}

// A placed container has its files on this machine: what is mounted at a path
// lies below root.
type placed struct {
	container corev1.Container
	root      string
	env       []string
}

// place does what a kubelet does before it starts a pod's first container:
// writes the files of its volumes, and makes its environment.
func place(t testing.TB, r *rendered, p pod, root string, secrets map[string]map[string]string) placed {
	t.Helper()
	c := p.Spec.Containers[0]
	var mounts []string
	for _, m := range c.VolumeMounts {
		mounts = append(mounts, regexp.QuoteMeta(m.MountPath))
	}
	mounted := regexp.MustCompile(`\B(` + strings.Join(mounts, "|") + `)\b`)
	write := func(path, content string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		// A file of the chart's names others by the paths of the container.
		content = mounted.ReplaceAllStringFunc(content, func(path string) string { return root + path })
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if err := os.MkdirAll(filepath.Join(root, m.MountPath), 0o700); err != nil {
			t.Fatal(err)
		}
		if i < 0 {
			continue // of a claim
		}
		switch v := p.Spec.Volumes[i]; {
		case v.ConfigMap != nil:
			for name, content := range find[corev1.ConfigMap](t, r, "ConfigMap", v.ConfigMap.Name).Data {
				write(filepath.Join(root, m.MountPath, name), content)
			}
		case v.Secret != nil:
			content, ok := secrets[v.Secret.SecretName]
			if !ok {
				t.Fatalf("%s: the secret %s is none that the values name", p.workload, v.Secret.SecretName)
			}
			for name, content := range content {
				write(filepath.Join(root, m.MountPath, name), content)
			}
		}
	}
	values := map[string]string{"PATH": os.Getenv("PATH")}
	for _, e := range c.Env {
		switch {
		case e.ValueFrom == nil:
			value := e.Value
			for name, v := range values {
				value = strings.ReplaceAll(value, "$("+name+")", v)
			}
			values[e.Name] = value
		case e.ValueFrom.FieldRef != nil && e.ValueFrom.FieldRef.FieldPath == "metadata.name":
			values[e.Name] = p.workload[strings.Index(p.workload, "/")+1:] + "-0"
		case e.ValueFrom.SecretKeyRef != nil:
			ref := e.ValueFrom.SecretKeyRef
			value, ok := secrets[ref.Name][ref.Key]
			if !ok && (ref.Optional == nil || !*ref.Optional) {
				t.Fatalf("%s: %s is of the secret %s, which has no %s", p.workload, e.Name, ref.Name, ref.Key)
			}
			if ok {
				values[e.Name] = value
			}
		default:
			t.Fatalf("%s: nobody here knows where %s comes from", p.workload, e.Name)
		}
	}
	made := placed{container: c, root: root}
	for name, value := range values {
		made.env = append(made.env, name+"="+value)
	}
	return made
}

// command runs the container's program with its arguments and some more.
func (p placed) command(ctx context.Context, program string, more ...string) *exec.Cmd {
	var args []string
	for _, arg := range p.container.Args {
		for _, m := range p.container.VolumeMounts {
			if strings.HasPrefix(arg, m.MountPath+"/") {
				arg = filepath.Join(p.root, arg)
				break
			}
		}
		args = append(args, arg)
	}
	cmd := exec.CommandContext(ctx, program, append(args, more...)...)
	cmd.Env = p.env
	return cmd
}
