package test

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestNATS has the server parse the configuration of every included NATS, with
// its variables and files in place, and holds it against the rest.
func TestNATS(t *testing.T) {
	secrets := newSecrets(t)
	met := 0
	matrix(t, func(t *testing.T, r *rendered) {
		for name, p := range pods(t, r) {
			if p.Labels["app.kubernetes.io/component"] != "nats" {
				continue
			}
			met++
			set := find[appsv1.StatefulSet](t, r, "StatefulSet", name)
			options := parseNATS(t, r, p, secrets)
			if options.ServerName != name+"-0" {
				t.Errorf("its name is %q", options.ServerName)
			}
			for port, number := range map[string]int{"client": options.Port, "cluster": options.Cluster.Port, "monitor": options.HTTPPort} {
				if port == "cluster" && *set.Spec.Replicas == 1 {
					continue
				}
				for _, c := range p.Spec.Containers[0].Ports {
					if c.Name == port && int(c.ContainerPort) != number {
						t.Errorf("the port %s is %d, but NATS has %d", port, c.ContainerPort, number)
					}
				}
			}
			if n := int(*set.Spec.Replicas); n > 1 {
				if len(options.Routes) != n {
					t.Errorf("%d routes for %d nodes", len(options.Routes), n)
				}
				for i, route := range options.Routes {
					if want := fmt.Sprintf("%s-%d.%s", set.Name, i, set.Spec.ServiceName); route.Hostname() != want {
						t.Errorf("a route to %s, want %s", route.Hostname(), want)
					}
				}
				if s := find[corev1.Service](t, r, "Service", set.Spec.ServiceName); !s.Spec.PublishNotReadyAddresses || s.Spec.ClusterIP != "None" {
					t.Error("the nodes cannot find each other before they are ready")
				}
				if set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
					t.Error("the second node waits for a first that waits for it")
				}
			}
			if !options.JetStream || options.JetStreamMaxStore < 1<<29 {
				t.Errorf("JetStream: %v, in %s, of %d bytes", options.JetStream, options.StoreDir, options.JetStreamMaxStore)
			}
			for _, claim := range set.Spec.VolumeClaimTemplates {
				if size := claim.Spec.Resources.Requests.Storage(); options.JetStreamMaxStore >= size.Value() {
					t.Errorf("it may store %d bytes on %s", options.JetStreamMaxStore, size)
				}
			}
			if options.LameDuckDuration.Seconds() >= float64(*p.Spec.TerminationGracePeriodSeconds) {
				t.Errorf("it takes %v to end, and is killed before", options.LameDuckDuration)
			}
			for program, s := range programs(t, r) {
				settings := s.settings(t)
				if replicas := settings["replicas"].(float64); replicas > float64(*set.Spec.Replicas) {
					t.Errorf("%s keeps everything on %v of %d nodes", program, replicas, *set.Spec.Replicas)
				}
				if synced := settings["nats-synced"].(bool); synced != options.SyncAlways {
					t.Errorf("%s is told that NATS syncs always: %v; it does: %v", program, synced, options.SyncAlways)
				}
				host := regexp.MustCompile(`^(nats|tls)://([^:]+):4222$`).FindStringSubmatch(settings["nats-url"].(string))
				if host == nil {
					t.Fatalf("%s looks for NATS at %v", program, settings["nats-url"])
				}
				if s := find[corev1.Service](t, r, "Service", host[2]); s.Spec.PublishNotReadyAddresses {
					t.Errorf("%s is led to nodes that are not ready", program)
				}
				if secure := host[1] == "tls"; secure != (options.TLSConfig != nil) {
					t.Errorf("%s speaks TLS to NATS: %v; it does: %v", program, secure, options.TLSConfig != nil)
				}
				if signsIn := strings.Contains(fmt.Sprint(s.pod.Spec.Containers[0].Env), "PARLEY_NATS_USER"); signsIn != (options.Username != "") {
					t.Errorf("%s signs in to NATS: %v; it asks: %v", program, signsIn, options.Username != "")
				}
			}
			// Whoever is called has a certificate for the name it is called by.
			for _, made := range all[certificate](t, r, "Certificate") {
				if made.Name != name {
					continue
				}
				shown := x509.Certificate{DNSNames: made.Spec.DNSNames}
				called := []string{name}
				for _, route := range options.Routes {
					called = append(called, route.Hostname())
				}
				for _, host := range called {
					if err := shown.VerifyHostname(host); err != nil {
						t.Error(err)
					}
				}
			}
			if options.Username != "" && (options.Username != "parley" || options.Password != "1234567") {
				t.Errorf("who signs in is %q with %q", options.Username, options.Password)
			}
		}
	})
	if met < 4 {
		t.Errorf("only %d configurations have NATS", met)
	}
}

// parseNATS gives the options of an included NATS's first node.
func parseNATS(t testing.TB, r *rendered, p pod, secrets map[string]map[string]string) *server.Options {
	t.Helper()
	made := place(t, r, p, t.TempDir(), secrets)
	for _, e := range made.env {
		name, value, _ := strings.Cut(e, "=")
		old, was := os.LookupEnv(name)
		os.Setenv(name, value)
		t.Cleanup(func() {
			if was {
				os.Setenv(name, old)
			} else {
				os.Unsetenv(name)
			}
		})
	}
	options, err := server.ProcessConfigFile(filepath.Join(made.root, made.container.Args[1]))
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// TestSameNATS: the NATS that is parsed here, the one that is included and the
// one that the product is tested with are of one version.
func TestSameNATS(t *testing.T) {
	const module = "github.com/nats-io/nats-server/v2 v"
	for _, file := range []string{"go.mod", "../../pkg/go.mod", "../../services/go.mod"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, found := strings.Cut(string(text), module)
		version := strings.Fields(rest + " ")[0]
		image := loadChart(t).Values["nats"].(map[string]any)["included"].(map[string]any)["image"].(map[string]any)
		if !found || version != image["tag"] {
			t.Errorf("%s has version %s, the chart's image %v", file, version, image["tag"])
		}
	}
}
