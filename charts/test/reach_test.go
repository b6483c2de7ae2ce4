package test

import (
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestReach: the NetworkPolicies let every program reach what its settings name,
// NATS its nodes, and helm test the gateways; and nobody else where nobody else
// has to be.
func TestReach(t *testing.T) {
	matrix(t, func(t *testing.T, r *rendered) {
		policies := all[networkingv1.NetworkPolicy](t, r, "NetworkPolicy")
		byComponent := make(map[string]pod)
		for _, p := range pods(t, r) {
			byComponent[p.Labels["app.kubernetes.io/component"]] = p
		}
		wants := make(map[[2]string]string) // who and whom, by which port
		for name, p := range programs(t, r) {
			for setting := range p.settings(t) {
				if target, is := strings.CutSuffix(setting, "-addr"); is && byComponent[target].Labels != nil {
					wants[[2]string{name, target}] = "grpc"
				}
			}
			wants[[2]string{name, "nats"}] = "client"
		}
		wants[[2]string{"nats", "nats"}] = "cluster"
		wants[[2]string{"check", "gateway"}] = "http"
		ports := map[string][]string{"nats": {"client", "cluster"}, "gateway": {"http"}, "check": nil}
		for from, caller := range byComponent {
			for to, called := range byComponent {
				offered, known := ports[to]
				if !known {
					offered = []string{"grpc"}
				}
				for _, port := range offered {
					want := wants[[2]string{from, to}] == port
					switch got := reaches(t, policies, caller, called, port); {
					case want && !got:
						t.Errorf("%s cannot reach the port %s of %s", from, port, to)
					case got && !want && len(policies) > 0 && port != "http":
						t.Errorf("%s reaches the port %s of %s, and need not", from, port, to)
					}
				}
			}
		}
	})
}

// reaches says whether the policies let one pod of the release reach a port of
// another's.
func reaches(t testing.TB, policies []*networkingv1.NetworkPolicy, from, to pod, port string) bool {
	t.Helper()
	matches := func(selector *metav1.LabelSelector, p pod) bool {
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		return s.Matches(labels.Set(p.Labels))
	}
	isolated := false
	for _, n := range policies {
		if !matches(&n.Spec.PodSelector, to) {
			continue
		}
		isolated = true
		for _, rule := range n.Spec.Ingress {
			named := false
			for _, p := range rule.Ports {
				named = named || *p.Port == intstr.FromString(port)
			}
			if !named {
				continue
			}
			if len(rule.From) == 0 {
				return true
			}
			for _, peer := range rule.From {
				if peer.PodSelector != nil && peer.NamespaceSelector == nil && matches(peer.PodSelector, from) {
					return true
				}
			}
		}
	}
	return !isolated
}
