package test

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A pod as a workload makes it.
type pod struct {
	metav1.ObjectMeta
	Spec     corev1.PodSpec
	replicas *int32 // nil where something else decides
	workload string // "Deployment/demo-parley-gateway"
	selector *metav1.LabelSelector
}

// pods gives the pods of all workloads, by the workloads' names.
func pods(t testing.TB, r *rendered) map[string]pod {
	t.Helper()
	found := make(map[string]pod)
	for _, d := range all[appsv1.Deployment](t, r, "Deployment") {
		found[d.Name] = pod{d.Spec.Template.ObjectMeta, d.Spec.Template.Spec, d.Spec.Replicas, "Deployment/" + d.Name, d.Spec.Selector}
	}
	for _, s := range all[appsv1.StatefulSet](t, r, "StatefulSet") {
		found[s.Name] = pod{s.Spec.Template.ObjectMeta, s.Spec.Template.Spec, s.Spec.Replicas, "StatefulSet/" + s.Name, s.Spec.Selector}
	}
	for _, p := range all[corev1.Pod](t, r, "Pod") {
		found[p.Name] = pod{p.ObjectMeta, p.Spec, nil, "Pod/" + p.Name, nil}
	}
	return found
}

// selected gives the names of the pods that a selector finds.
func selected(t testing.TB, pods map[string]pod, selector *metav1.LabelSelector) []string {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, p := range pods {
		if s.Matches(labels.Set(p.Labels)) {
			names = append(names, name)
		}
	}
	return names
}

// port gives the number of a container's port.
func (p pod) port(port intstr.IntOrString) (int32, bool) {
	for _, c := range p.Spec.Containers {
		for _, has := range c.Ports {
			if has.Name == port.StrVal && port.Type == intstr.String || has.ContainerPort == port.IntVal && port.Type == intstr.Int {
				return has.ContainerPort, true
			}
		}
	}
	return 0, false
}

// TestSelectors: everything that selects pods selects those of one workload,
// and of no other.
func TestSelectors(t *testing.T) {
	matrix(t, func(t *testing.T, r *rendered) {
		pods := pods(t, r)
		one := func(what string, selector *metav1.LabelSelector) {
			if names := selected(t, pods, selector); len(names) != 1 {
				t.Errorf("%s selects the pods of %v", what, names)
			}
		}
		for _, p := range pods {
			if p.selector != nil {
				one(p.workload, p.selector)
			}
			for _, c := range p.Spec.TopologySpreadConstraints {
				if len(p.selector.MatchLabels) == len(c.LabelSelector.MatchLabels) {
					one(p.workload+": spread", c.LabelSelector)
				}
			}
		}
		for _, s := range all[corev1.Service](t, r, "Service") {
			one("Service/"+s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		}
		for _, b := range all[policyv1.PodDisruptionBudget](t, r, "PodDisruptionBudget") {
			one("PodDisruptionBudget/"+b.Name, b.Spec.Selector)
		}
		for _, n := range all[networkingv1.NetworkPolicy](t, r, "NetworkPolicy") {
			one("NetworkPolicy/"+n.Name, &n.Spec.PodSelector)
		}
	})
}

// TestPorts: every port that is named somewhere is one of a container's.
func TestPorts(t *testing.T) {
	matrix(t, func(t *testing.T, r *rendered) {
		pods := pods(t, r)
		has := func(what string, selector *metav1.LabelSelector, port intstr.IntOrString) {
			for _, name := range selected(t, pods, selector) {
				if _, ok := pods[name].port(port); !ok {
					t.Errorf("%s: %s has no port %v", what, name, port.String())
				}
			}
		}
		services := make(map[string]*corev1.Service)
		for _, s := range all[corev1.Service](t, r, "Service") {
			services[s.Name] = s
			for _, p := range s.Spec.Ports {
				has("Service/"+s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}, p.TargetPort)
			}
		}
		for _, n := range all[networkingv1.NetworkPolicy](t, r, "NetworkPolicy") {
			for _, rule := range n.Spec.Ingress {
				for _, p := range rule.Ports {
					has("NetworkPolicy/"+n.Name, &n.Spec.PodSelector, *p.Port)
				}
			}
		}
		for name, p := range pods {
			for _, c := range p.Spec.Containers {
				probes := map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe}
				for which, probe := range probes {
					if probe != nil {
						if _, ok := p.port(probe.HTTPGet.Port); !ok {
							t.Errorf("%s: its %s probe asks port %s, which there is not", name, which, probe.HTTPGet.Port.String())
						}
					}
				}
			}
		}
		for _, i := range all[networkingv1.Ingress](t, r, "Ingress") {
			for _, rule := range i.Spec.Rules {
				for _, path := range rule.HTTP.Paths {
					back := path.Backend.Service
					if s := services[back.Name]; s == nil || s.Spec.Ports[0].Name != back.Port.Name {
						t.Errorf("Ingress/%s leads to %s:%s, which there is not", i.Name, back.Name, back.Port.Name)
					}
				}
			}
		}
	})
}

// TestMounts: every mount has its volume, every volume its ConfigMap, and
// nothing is asked of a service account that there is not.
func TestMounts(t *testing.T) {
	matrix(t, func(t *testing.T, r *rendered) {
		has := make(map[string]bool)
		for _, o := range r.objects {
			if has[o.String()] {
				t.Errorf("there are two %v", o)
			}
			has[o.String()] = true
		}
		for name, p := range pods(t, r) {
			volumes := make(map[string]bool)
			for _, v := range p.Spec.Volumes {
				volumes[v.Name] = true
				if v.ConfigMap != nil && !has["ConfigMap/"+v.ConfigMap.Name] {
					t.Errorf("%s: there is no ConfigMap %s", name, v.ConfigMap.Name)
				}
				if s := v.Secret; s != nil && s.DefaultMode != nil && *s.DefaultMode&0o007 != 0 {
					t.Errorf("%s: everybody may read the secret %s", name, s.SecretName)
				}
			}
			if strings.HasPrefix(p.workload, "StatefulSet/") {
				for _, claim := range find[appsv1.StatefulSet](t, r, "StatefulSet", name).Spec.VolumeClaimTemplates {
					volumes[claim.Name] = true
				}
			}
			for _, c := range p.Spec.Containers {
				for _, m := range c.VolumeMounts {
					if !volumes[m.Name] {
						t.Errorf("%s: the mount %s has no volume", name, m.Name)
					}
				}
			}
			if account := p.Spec.ServiceAccountName; account != "" && account != "parley" && !has["ServiceAccount/"+account] {
				t.Errorf("%s: there is no service account %s", name, account)
			}
		}
	})
}

// TestManyReplicas: what has more than one pod is spread, and has a disruption
// budget that lets a node be drained and keeps a pod; what is scaled by
// something has no replicas of its own.
func TestManyReplicas(t *testing.T) {
	matrix(t, func(t *testing.T, r *rendered) {
		pods := pods(t, r)
		least := make(map[string]int32)
		for name, p := range pods {
			if p.selector == nil {
				continue
			}
			if p.replicas != nil {
				least[name] = *p.replicas
			}
		}
		scale := func(what, target string, minimum int32) {
			p, ok := pods[target]
			switch {
			case !ok:
				t.Errorf("%s scales %s, which there is not", what, target)
			case p.replicas != nil:
				t.Errorf("%s scales %s, which sets replicas itself: every upgrade would undo it", what, target)
			}
			least[target] = minimum
		}
		for _, h := range all[autoscalingv2.HorizontalPodAutoscaler](t, r, "HorizontalPodAutoscaler") {
			scale("HorizontalPodAutoscaler/"+h.Name, h.Spec.ScaleTargetRef.Name, *h.Spec.MinReplicas)
			for _, m := range h.Spec.Metrics {
				if m.ContainerResource != nil && m.ContainerResource.Container != pods[h.Spec.ScaleTargetRef.Name].Spec.Containers[0].Name {
					t.Errorf("it measures the container %s, which there is not", m.ContainerResource.Container)
				}
			}
			if down := h.Spec.Behavior.ScaleDown; *down.StabilizationWindowSeconds < 300 || down.Policies[0].Type != autoscalingv2.PodsScalingPolicy {
				t.Error("it scales down in a hurry")
			}
		}
		for _, k := range all[scaledObject](t, r, "ScaledObject") {
			scale("ScaledObject/"+k.Name, k.Spec.ScaleTargetRef.Name, *k.Spec.MinReplicaCount)
		}
		budgets := make(map[string]*policyv1.PodDisruptionBudget)
		for _, b := range all[policyv1.PodDisruptionBudget](t, r, "PodDisruptionBudget") {
			for _, name := range selected(t, pods, b.Spec.Selector) {
				budgets[name] = b
			}
			if (b.Spec.MinAvailable == nil) == (b.Spec.MaxUnavailable == nil) {
				t.Errorf("PodDisruptionBudget/%s: want one of minAvailable and maxUnavailable", b.Name)
			}
		}
		for name, n := range least {
			b := budgets[name]
			if n < 2 {
				if b != nil {
					t.Errorf("%s: a disruption budget for one pod, which would stop a node's drain", name)
				}
				continue
			}
			if b == nil {
				t.Errorf("%s: %d pods without a disruption budget", name, n)
				continue
			}
			allowed := int(n)
			if b.Spec.MinAvailable != nil {
				keep, _ := intstr.GetScaledValueFromIntOrPercent(b.Spec.MinAvailable, int(n), true)
				allowed -= keep
			} else {
				allowed, _ = intstr.GetScaledValueFromIntOrPercent(b.Spec.MaxUnavailable, int(n), true)
			}
			if allowed < 1 || allowed >= int(n) {
				t.Errorf("%s: of %d pods %d may go", name, n, allowed)
			}
			if p := pods[name]; len(p.Spec.TopologySpreadConstraints) == 0 {
				t.Errorf("%s: %d pods that are not spread", name, n)
			}
		}
	})
}

// TestRolling: a new gateway is there before an old one goes, and whoever stops
// gets the time for it.
func TestRolling(t *testing.T) {
	matrix(t, func(t *testing.T, r *rendered) {
		for _, d := range all[appsv1.Deployment](t, r, "Deployment") {
			if !strings.HasSuffix(d.Name, "-gateway") {
				continue
			}
			rolling := d.Spec.Strategy.RollingUpdate
			if rolling == nil || rolling.MaxUnavailable.IntValue() != 0 || rolling.MaxSurge.IntValue() < 1 {
				t.Errorf("%s: a rolling update may take pods away before there are new ones: %v", d.Name, rolling)
			}
		}
		for name, p := range programs(t, r) {
			settings := p.settings(t)
			grace := settings.duration(t, "grace")
			if name == "gateway" {
				drain := settings.duration(t, "drain-delay") + settings.duration(t, "drain-timeout")
				if grace <= drain {
					t.Errorf("gateway: grace %v for a drain of %v", grace, drain)
				}
			}
			if kill := *p.pod.Spec.TerminationGracePeriodSeconds; float64(kill) <= grace.Seconds() {
				t.Errorf("%s: killed after %d s, but stopping may take %v", name, kill, grace)
			}
		}
		for name, p := range pods(t, r) {
			if p.Labels["app.kubernetes.io/component"] == "nats" && *p.Spec.TerminationGracePeriodSeconds <= 30 {
				t.Errorf("%s: killed before its lame duck mode ends", name)
			}
		}
	})
}

// TestSecrets: nothing that is rendered is a secret, and nobody's value stands
// where others can read it.
func TestSecrets(t *testing.T) {
	matrix(t, func(t *testing.T, r *rendered) {
		for _, o := range r.objects {
			if o.Kind == "Secret" {
				t.Errorf("%v: a secret was made", o)
			}
		}
		for name, p := range pods(t, r) {
			for _, c := range p.Spec.Containers {
				for _, e := range c.Env {
					for _, secret := range []string{"TOKEN", "PASSWORD", "SECRET"} {
						if strings.Contains(e.Name, secret) && e.Value != "" && !strings.Contains(e.Value, "$(SECRET_") {
							t.Errorf("%s: %s has a value in the open", name, e.Name)
						}
					}
				}
			}
		}
	})
}

// TestNotes: they name commands for objects that there are.
func TestNotes(t *testing.T) {
	matrix(t, func(t *testing.T, r *rendered) {
		has := make(map[string]bool)
		for _, o := range r.objects {
			has[strings.ToLower(o.Kind)+"/"+o.Name] = true
		}
		for _, word := range strings.Fields(r.notes) {
			for _, kind := range []string{"deployment/", "service/"} {
				if strings.HasPrefix(word, kind) && !has[word] {
					t.Errorf("the notes name %s, which there is not", word)
				}
			}
		}
		trial := r.values["trial"] == nil
		if strings.Contains(r.notes, "THIS IS A TRIAL") != trial {
			t.Errorf("a trial or not? %v:\n%s", trial, r.notes)
		}
		dev := false
		for _, p := range programs(t, r) {
			dev = dev || p.settings(t)["dev"] == true
		}
		if strings.Contains(r.notes, "PARLEY_DEV=on") != dev {
			t.Errorf("development mode is %v, and the notes say:\n%s", dev, r.notes)
		}
		if !strings.Contains(r.notes, fmt.Sprintf("-n %s", namespace)) {
			t.Error("the notes' commands miss the namespace")
		}
	})
}
