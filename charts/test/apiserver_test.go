package test

import (
	"fmt"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	psa "k8s.io/pod-security-admission/api"
	psapolicy "k8s.io/pod-security-admission/policy"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// TestAPIServer has every object decoded strictly, completed and validated as
// the API server does: a field that does not exist, a disruption budget with
// both numbers, a probe of a port that is none, are all refused there.
func TestAPIServer(t *testing.T) {
	decoder := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDecoder()
	matrix(t, func(t *testing.T, r *rendered) {
		for _, o := range r.objects {
			if o.Namespace != namespace && o.template != "parley/templates/extra.yaml" {
				t.Errorf("%v of %s: in the namespace %q", o, o.template, o.Namespace)
			}
			if strict, ok := foreign[o.APIVersion+" "+o.Kind]; ok {
				if err := strict(o.text); err != nil {
					t.Errorf("%v: %v\n%s", o, err, o.text)
				}
				continue
			}
			internal, _, err := decoder.Decode(o.text, nil, nil)
			if err != nil {
				t.Errorf("%v: %v\n%s", o, err, o.text)
				continue
			}
			if accessor, err := meta.Accessor(internal); err == nil && accessor.GetNamespace() == "" {
				accessor.SetNamespace(namespace)
			}
			for _, err := range validate(internal) {
				t.Errorf("%v: %v\n%s", o, err, o.text)
			}
		}
	})
}

// validate is what the API server does with a new object before it stores it.
func validate(o runtime.Object) field.ErrorList {
	switch o := o.(type) {
	case *apps.Deployment:
		return appsvalidation.ValidateDeployment(o, podutil.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil))
	case *apps.StatefulSet:
		return appsvalidation.ValidateStatefulSet(o, podutil.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil))
	case *core.Pod:
		return corevalidation.ValidatePodCreate(o, podutil.GetValidationOptionsFromPodSpecAndMeta(&o.Spec, nil, &o.ObjectMeta, nil))
	case *core.Service:
		// What the API server does before (registry/core/service/storage).
		if o.Spec.ClusterIP != "" && len(o.Spec.ClusterIPs) == 0 {
			o.Spec.ClusterIPs = []string{o.Spec.ClusterIP}
		}
		if o.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal {
			o.Spec.HealthCheckNodePort = 30000
		}
		return corevalidation.ValidateServiceCreate(o)
	case *core.ServiceAccount:
		return corevalidation.ValidateServiceAccount(o)
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(o)
	case *policy.PodDisruptionBudget:
		errs := policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{})
		if o.Spec.Selector == nil || len(o.Spec.Selector.MatchLabels) == 0 {
			errs = append(errs, field.Required(field.NewPath("spec", "selector"), "an empty one is all pods of the namespace"))
		}
		return errs
	case *autoscaling.HorizontalPodAutoscaler:
		return autoscalingvalidation.ValidateHorizontalPodAutoscaler(o, autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{MinReplicasLowerBound: 1})
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicy(o, networkingvalidation.NetworkPolicyValidationOptions{})
	case *networking.Ingress:
		return networkingvalidation.ValidateIngressCreate(o)
	default:
		return field.ErrorList{field.InternalError(nil, fmt.Errorf("nobody here can validate a %T", o))}
	}
}

// foreign are the kinds that others define: decoded strictly into their own
// types, or into as much of them as is used here.
var foreign = map[string]func([]byte) error{
	"gateway.networking.k8s.io/v1 HTTPRoute":  strictly[gatewayv1.HTTPRoute],
	"monitoring.coreos.com/v1 PodMonitor":     strictly[monitoringv1.PodMonitor],
	"monitoring.coreos.com/v1 ServiceMonitor": strictly[monitoringv1.ServiceMonitor],
	"monitoring.coreos.com/v1 PrometheusRule": strictly[monitoringv1.PrometheusRule],
	"keda.sh/v1alpha1 ScaledObject":           strictly[scaledObject],
	"cloud.google.com/v1 BackendConfig":       strictly[backendConfig],
	"cert-manager.io/v1 Certificate":          strictly[certificate],
}

func strictly[T any](text []byte) error { return yaml.UnmarshalStrict(text, new(T)) }

// TestRestricted has every pod judged by the restricted pod security standard,
// as a namespace that enforces it does.
func TestRestricted(t *testing.T) {
	evaluator, err := psapolicy.NewEvaluator(psapolicy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}
	matrix(t, func(t *testing.T, r *rendered) {
		for name, pod := range pods(t, r) {
			for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			if automount := pod.Spec.AutomountServiceAccountToken; automount == nil || *automount {
				t.Errorf("%s: has a token of its service account", name)
			}
			for _, c := range pod.Spec.Containers {
				if readOnly := c.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
					t.Errorf("%s: container %s may write to its root", name, c.Name)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
					t.Errorf("%s: container %s has no memory limit, or requests no CPU", name, c.Name)
				}
			}
		}
	})
}
