package test

import (
	"strings"
	"testing"
)

// TestWrongValues: what cannot be right is refused, with a word on what it is.
func TestWrongValues(t *testing.T) {
	c := loadChart(t)
	const production = "trial: false\ntrust: {existingSecret: parley-trust}\nnats: {url: 'nats://nats:4222'}\n"
	for _, test := range []struct{ name, values, want string }{
		{"unknown name", "gatway: {replicas: 3}", "gatway"},
		{"unknown name within", "gateway: {replica: 3}", "replica"},
		{"unknown setting", "gateway: {config: {max-conections: 5}}", "max-conections"},
		{"setting of another program", "auth: {config: {max-connections: 5}}", "max-connections"},
		{"setting that is the chart's", "gateway: {config: {nats-url: 'nats://x:4222'}}", "nats-url"},
		{"text for a number", "gateway: {replicas: three}", "replicas"},
		{"no replicas to have", "gateway: {replicas: -1}", "replicas"},
		{"no duration", "gateway: {config: {drain-delay: soon}}", "drain-delay"},
		{"number for a duration", "gateway: {config: {drain-delay: 10}}", "drain-delay"},
		{"two NATS nodes", "nats: {included: {replicas: 2}}", "replicas"},
		{"more copies than nodes", "nats: {streamReplicas: 5}", "nats.streamReplicas: 5 is more than the 3 nodes"},
		{"password in the address", "trial: false\nnats: {url: 'nats://me:secret@nats:4222'}", "url"},
		{"service that there is not", "gateway: {service: {type: ExternalName}}", "type"},
		{"preset that there is not", "gateway: {ingress: {preset: traefik}}", "preset"},
		{"both numbers of a budget", "gateway: {podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}}", "podDisruptionBudget"},
		{"no digest", "gateway: {image: {digest: latest}}", "digest"},
		{"no quantity", "nats: {included: {storage: {size: 10GB}}}", "size"},
		{"memory in words", "gateway: {resources: {limits: {memory: lots}}}", `"lots" is not a quantity of bytes`},
		{"NATS of one's own in a trial", "nats: {url: 'nats://nats:4222'}", "set trial: false"},
		{"production without NATS", "trial: false\ntrust: {existingSecret: x}", "nats.url is missing"},
		{"production without trust", "trial: false\nnats: {url: 'nats://nats:4222'}", "trust is missing"},
		{"two kinds of NATS", production + "nats: {url: 'nats://nats:4222', included: {enabled: true}}", "want one of them"},
		{"credentials file for the included NATS", "nats: {auth: {existingSecret: x, method: nkey}}", "takes password, not nkey"},
		{"NATS's certificate of nobody", "nats: {tls: {certManager: {enabled: true}}}", "nats.tls.certManager.issuerRef.name is missing"},
		{"two certificates of NATS", "nats: {tls: {existingSecret: x, certManager: {enabled: true, issuerRef: {name: ca}}}}", "want one of them"},
		{"certificate of nobody", production + "nats: {url: 'nats://nats:4222', tls: {clientCertificate: true}}", "nats.tls.existingSecret"},
		{"two certificates", production + "trust: {tls: {existingSecret: x, certManager: {enabled: true, issuerRef: {name: ca}}}}", "want one of them"},
		{"issuer of nobody", production + "trust: {tls: {certManager: {enabled: true}}}", "issuerRef.name is missing"},
		{"two that scale", "gateway: {autoscaling: {enabled: true}, keda: {enabled: true, targetConnections: null}}", "want one of them"},
		{"scaled by nothing", "gateway: {autoscaling: {enabled: true, targetCPU: null}}", "neither targetCPU nor targetConnections"},
		{"scaled downwards", "gateway: {autoscaling: {enabled: true, minReplicas: 5, maxReplicas: 3}}", "maxReplicas is less"},
		{"connections of nowhere", "gateway: {keda: {enabled: true}}", "serverAddress is missing"},
		{"route of nobody", "gateway: {httpRoute: {enabled: true}}", "parentRefs is missing"},
		{"killed while it drains", "gateway: {terminationGracePeriodSeconds: 30}", "gateway.terminationGracePeriodSeconds: 30 is less than the 51 s"},
		{"grace without the drain", "gateway: {config: {grace: 10s}}", "gateway.config.grace"},
		{"killed while it stops", "auth: {config: {grace: 40s}, terminationGracePeriodSeconds: 40}", "auth.terminationGracePeriodSeconds"},
	} {
		t.Run(test.name, func(t *testing.T) {
			values := make(map[string]any)
			for _, part := range strings.SplitAfter(test.values, "\n") {
				for name, v := range parseValues(t, part) {
					values[name] = v
				}
			}
			_, err := render(c, values, newest)
			if err == nil {
				t.Fatal("accepted")
			}
			// Helm breaks long lines.
			if text := strings.Join(strings.Fields(err.Error()), " "); !strings.Contains(text, test.want) {
				t.Errorf("want a word on %q, got:\n%v", test.want, err)
			}
		})
	}
}

// TestOldKubernetes: Chart.yaml says for which Kubernetes the chart is, and
// nothing that is rendered asks for a newer one.
func TestOldKubernetes(t *testing.T) {
	c := loadChart(t)
	if want := ">=" + strings.TrimPrefix(oldest, "v") + "-0"; c.Metadata.KubeVersion != want {
		t.Errorf("Chart.yaml is for %s, the tests are for %s", c.Metadata.KubeVersion, want)
	}
	matrix(t, func(t *testing.T, r *rendered) {
		old, err := render(c, r.values, oldest)
		if err != nil {
			t.Fatal(err)
		}
		if len(old.objects) != len(r.objects) {
			t.Errorf("%d objects, and %d for %s", len(old.objects), len(r.objects), newest)
		}
	})
}
