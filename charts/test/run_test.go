package test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// running is a pod whose program runs as a process of this machine.
type running struct {
	name   string // "demo-parley-gateway-0"
	pod    pod
	placed placed
	ip     string // of the loopback range, its own
	cmd    *exec.Cmd
	log    *tail
	ended  chan struct{} // closed when the process has
}

// A tail keeps what a process writes.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestRuns runs a configuration: every pod as a process with the arguments,
// files, secrets and environment that it was rendered with, at an address of its
// own, all at once. Names of services become the addresses of their pods, which
// is all that is changed. Then it does what a rolling update does to a gateway,
// and what the loss of a node does to everything, while what helm test runs is
// running.
func TestRuns(t *testing.T) {
	r := reading(t, `
trust: {existingSecret: parley-trust}
nats: {auth: {existingSecret: parley-nats}}
gateway: {config: {drain-delay: 2s}}
events: {enabled: true, replicas: 1}
tests: {duration: 20s}
`)
	secrets := newSecrets(t)
	pods := pods(t, r)
	var started []*running
	addresses := make(map[string][]string) // of services
	next := 0
	prepare := func(name string, p pod, ordinal int) *running {
		next++
		run := &running{name: fmt.Sprintf("%s-%d", name, ordinal), pod: p, ip: fmt.Sprintf("127.77.0.%d", next)}
		for _, s := range all[corev1.Service](t, r, "Service") {
			if slices.Contains(selected(t, map[string]pod{name: p}, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}), name) {
				addresses[s.Name] = append(addresses[s.Name], run.ip)
				addresses[run.name+"."+s.Name] = []string{run.ip}
			}
		}
		started = append(started, run)
		return run
	}
	names := make([]string, 0, len(pods))
	for name := range pods {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if p := pods[name]; p.replicas != nil {
			for i := range *p.replicas {
				prepare(name, p, int(i))
			}
		}
	}
	fresh := prepare(release+"-parley-gateway", pods[release+"-parley-gateway"], 9)
	t.Cleanup(func() {
		for _, run := range started {
			run.kill()
			if t.Failed() && run.log != nil {
				text := run.log.String()
				t.Logf("%s:\n%s", run.name, text[max(0, len(text)-3000):])
			}
		}
	})
	for _, run := range started {
		if run != fresh {
			run.start(t, r, secrets, addresses)
		}
	}
	for _, run := range started {
		if run != fresh {
			run.wait(t, 2*time.Minute)
		}
	}
	nats := started[slices.IndexFunc(started, func(r *running) bool { return strings.Contains(r.name, "-nats-") })]
	if log := nats.log.String(); !strings.Contains(log, "JetStream cluster") {
		t.Errorf("NATS is no cluster:\n%s", log)
	}

	// helm test, through the gateways that there are and will be.
	old := started[slices.IndexFunc(started, func(r *running) bool { return strings.Contains(r.name, "-gateway-") })]
	var urls []string
	for _, ip := range addresses[release+"-parley-gateway"] {
		urls = append(urls, "http://"+ip+":8080")
	}
	checking := place(t, r, pods[release+"-parley-check"], t.TempDir(), secrets)
	checking.container.Args = append(slices.Clone(checking.container.Args), "--url="+strings.Join(urls, ","))
	for i, arg := range checking.container.Args {
		if strings.HasPrefix(arg, "--url=http://"+release+"-parley-gateway:80") {
			checking.container.Args = slices.Delete(checking.container.Args, i, i+1)
			break
		}
	}
	check := checking.command(t.Context(), binary(t, "parley"))
	var report tail
	check.Stdout, check.Stderr = &report, &report
	if err := check.Start(); err != nil {
		t.Fatal(err)
	}
	// A rolling update: the new one is ready, then the old one is told to go.
	fresh.start(t, r, secrets, addresses)
	fresh.wait(t, 30*time.Second)
	begun := time.Now()
	old.stop(t)
	t.Logf("a gateway took %v to go", time.Since(begun).Round(time.Millisecond))
	// A node of Kubernetes that is lost takes one pod of each along, NATS too.
	for _, run := range started {
		if strings.HasSuffix(run.name, "-1") {
			run.kill()
		}
	}
	if err := check.Wait(); err != nil {
		t.Errorf("helm test: %v\n%s", err, report.String())
	}

	// Whoever is left ends in the time that they are given.
	var group sync.WaitGroup
	for _, run := range started {
		if run != old && !strings.HasSuffix(run.name, "-1") && run.pod.Labels["app.kubernetes.io/component"] != "nats" {
			group.Go(func() { run.stop(t) })
		}
	}
	group.Wait()

	// What a node of NATS is told before it ends.
	hook := nats.pod.Spec.Containers[0].Lifecycle.PreStop.Exec.Command
	last := regexp.MustCompile(`=1$`).ReplaceAllString(hook[len(hook)-1], fmt.Sprint("=", nats.cmd.Process.Pid)) // in its container it is the first
	args := append(slices.Clone(hook[1:len(hook)-1]), last)
	if out, err := exec.Command(binary(t, hook[0]), args...).CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", hook, err, out)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(nats.log.String(), "lame duck mode"); {
		if time.Now().After(deadline) {
			t.Fatalf("%v did not bring it to its end:\n%s", hook, nats.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// start starts a pod's program.
func (r *running) start(t *testing.T, from *rendered, secrets map[string]map[string]string, addresses map[string][]string) {
	t.Helper()
	r.placed = place(t, from, r.pod, t.TempDir(), secrets)
	for i, e := range r.placed.env {
		if strings.HasPrefix(e, "POD_NAME=") {
			r.placed.env[i] = "POD_NAME=" + r.name
		}
	}
	config := filepath.Join(r.placed.root, r.placed.container.Args[1])
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(r.here(string(text), addresses)), 0o600); err != nil {
		t.Fatal(err)
	}
	program := r.pod.Labels["app.kubernetes.io/component"]
	if program == "nats" {
		program = "nats-server"
	}
	r.log, r.ended = new(tail), make(chan struct{})
	r.cmd = r.placed.command(context.Background(), binary(t, program))
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait() // ProcessState says how
		close(r.ended)
	}()
}

// here gives a file with the addresses that there are on this machine: the
// pod's own for all addresses, and the pods' for a service's.
func (r *running) here(text string, addresses map[string][]string) string {
	text = strings.ReplaceAll(text, "0.0.0.0:", r.ip+":")
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if strings.HasSuffix(name, "-addr") && strings.HasPrefix(value, "':") || strings.HasPrefix(value, ":") {
			lines[i] = name + ": " + r.ip + strings.Trim(value, "'")
			continue
		}
		for service, ips := range addresses {
			for _, scheme := range []string{"dns:///", "nats://"} {
				before, after, found := strings.Cut(lines[i], scheme+service+":")
				if !found {
					continue
				}
				port := after[:4]
				var list []string
				for _, ip := range ips {
					list = append(list, strings.TrimPrefix(scheme, "dns:///")+ip+":"+port)
				}
				lines[i] = before + strings.Join(list, ",") + after[4:]
			}
		}
	}
	return strings.Join(lines, "\n")
}

// wait waits until a pod is started and ready, by the probes that it has.
func (r *running) wait(t *testing.T, patience time.Duration) {
	t.Helper()
	c := r.pod.Spec.Containers[0]
	deadline := time.Now().Add(patience)
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		port, _ := r.pod.port(probe.HTTPGet.Port)
		url := fmt.Sprintf("http://%s:%d%s", r.ip, port, probe.HTTPGet.Path)
		for {
			answer, err := http.Get(url)
			if err == nil {
				answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					break
				}
				err = fmt.Errorf("it answers %s", answer.Status)
			}
			select {
			case <-r.ended:
				t.Fatalf("%s ended: %v\n%s", r.name, r.cmd.ProcessState, r.log)
			default:
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s: %v\n%s", r.name, url, err, r.log)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// stop does what a kubelet does, and wants the program to have ended well in
// the time that it is given.
func (r *running) stop(t *testing.T) {
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("%s: %v", r.name, err)
	}
	select {
	case <-r.ended:
		if !r.cmd.ProcessState.Success() {
			t.Errorf("%s: %v\n%s", r.name, r.cmd.ProcessState, r.log)
		}
	case <-time.After(time.Duration(*r.pod.Spec.TerminationGracePeriodSeconds) * time.Second):
		t.Errorf("%s: would have been killed", r.name)
	}
}

func (r *running) kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill() // fails when it has ended
	<-r.ended
}
