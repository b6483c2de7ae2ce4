{{/*
Annotations of an Ingress, by controller, as YAML. They say the same everywhere:
a connection that is quiet for longer than a heartbeat (25 s) is not dead, the
gateway with the fewest connections gets the next one, nobody sticks to one, and
a gateway that goes gets the time of its drain.
*/}}
{{- define "parley.ingressAnnotations" -}}
{{- $preset := .Values.gateway.ingress.preset -}}
{{- if eq $preset "nginx" }}
# Not an hour of life: an hour of silence, of which heartbeats allow 25 s.
nginx.ingress.kubernetes.io/proxy-read-timeout: "3600"
nginx.ingress.kubernetes.io/proxy-send-timeout: "3600"
nginx.ingress.kubernetes.io/proxy-connect-timeout: "5"
nginx.ingress.kubernetes.io/proxy-buffering: "off"
# A request that another gateway may have seen is not sent again.
nginx.ingress.kubernetes.io/proxy-next-upstream: error timeout
nginx.ingress.kubernetes.io/load-balance: ewma
{{- else if eq $preset "haproxy" }}
# HAProxy's own controller, and the community's.
haproxy.org/timeout-tunnel: 1h
haproxy.org/load-balance: leastconn
haproxy-ingress.github.io/timeout-tunnel: 1h
haproxy-ingress.github.io/balance-algorithm: leastconn
{{- else if eq $preset "alb" }}
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/healthcheck-protocol: HTTP
alb.ingress.kubernetes.io/healthcheck-port: "9090"
alb.ingress.kubernetes.io/healthcheck-path: /readyz
alb.ingress.kubernetes.io/healthcheck-interval-seconds: "5"
alb.ingress.kubernetes.io/healthcheck-timeout-seconds: "3"
alb.ingress.kubernetes.io/healthy-threshold-count: "2"
alb.ingress.kubernetes.io/unhealthy-threshold-count: "2"
alb.ingress.kubernetes.io/success-codes: "200"
# Of silence; heartbeats end it every 25 s.
alb.ingress.kubernetes.io/load-balancer-attributes: idle_timeout.timeout_seconds=120
alb.ingress.kubernetes.io/target-group-attributes: deregistration_delay.timeout_seconds={{ include "parley.gatewayDrain" . }},load_balancing.algorithm.type=least_outstanding_requests,stickiness.enabled=false
{{- else if eq $preset "gke" }}
kubernetes.io/ingress.class: gce
{{- end }}
{{- end -}}

{{/* Seconds from the first word that a gateway ends to its last client. */}}
{{- define "parley.gatewayDrain" -}}
{{- include "parley.drain" (mustMergeOverwrite (deepCopy .Values.defaults) (deepCopy .Values.gateway)) -}}
{{- end -}}
