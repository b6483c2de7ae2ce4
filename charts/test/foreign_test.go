package test

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// As much of KEDA's, Google's and cert-manager's kinds as the chart uses, by
// their documentation; their own modules would bring half a cloud along.

// header is what every object has.
type header struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
}

// scaledObject is KEDA's, keda.sh/v1alpha1.
type scaledObject struct {
	header `json:",inline"`
	Spec   struct {
		ScaleTargetRef struct {
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount *int32 `json:"minReplicaCount"`
		MaxReplicaCount *int32 `json:"maxReplicaCount"`
		PollingInterval *int32 `json:"pollingInterval"`
		CooldownPeriod  *int32 `json:"cooldownPeriod"`
		Advanced        struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type              string                         `json:"type"`
			MetricType        autoscalingv2.MetricTargetType `json:"metricType"`
			Metadata          map[string]string              `json:"metadata"`
			AuthenticationRef *struct {
				Name string `json:"name"`
			} `json:"authenticationRef"`
		} `json:"triggers"`
	} `json:"spec"`
}

// backendConfig is Google's, cloud.google.com/v1.
type backendConfig struct {
	header `json:",inline"`
	Spec   struct {
		TimeoutSec         int64 `json:"timeoutSec"`
		ConnectionDraining struct {
			DrainingTimeoutSec int64 `json:"drainingTimeoutSec"` // 0 to 3600
		} `json:"connectionDraining"`
		HealthCheck struct {
			Type               string `json:"type"`
			Port               int64  `json:"port"`
			RequestPath        string `json:"requestPath"`
			CheckIntervalSec   int64  `json:"checkIntervalSec"`
			TimeoutSec         int64  `json:"timeoutSec"`
			HealthyThreshold   int64  `json:"healthyThreshold"`
			UnhealthyThreshold int64  `json:"unhealthyThreshold"`
		} `json:"healthCheck"`
	} `json:"spec"`
}

// certificate is cert-manager's, cert-manager.io/v1.
type certificate struct {
	header `json:",inline"`
	Spec   struct {
		SecretName  string          `json:"secretName"`
		Duration    metav1.Duration `json:"duration"`
		RenewBefore metav1.Duration `json:"renewBefore"`
		IssuerRef   struct {
			Name  string `json:"name"`
			Kind  string `json:"kind"`
			Group string `json:"group"`
		} `json:"issuerRef"`
		Usages     []string `json:"usages"`
		PrivateKey struct {
			Algorithm      string `json:"algorithm"`
			Size           int    `json:"size"`
			RotationPolicy string `json:"rotationPolicy"`
		} `json:"privateKey"`
		DNSNames []string `json:"dnsNames"`
	} `json:"spec"`
}
