{{/*
Annotations of an Ingress, by controller, as YAML: the times of deploy/lb, where
README.md says why each is what it is. A socket may be silent for three
heartbeats, the gateway with the fewest connections gets the next one, nobody
sticks to one, and a gateway that goes gets the time of its drain.
*/}}
{{- define "parley.ingressAnnotations" -}}
{{- $preset := .Values.gateway.ingress.preset -}}
{{- if eq $preset "nginx" }}
nginx.ingress.kubernetes.io/proxy-read-timeout: "75"
nginx.ingress.kubernetes.io/proxy-send-timeout: "75"
nginx.ingress.kubernetes.io/proxy-connect-timeout: "2"
nginx.ingress.kubernetes.io/proxy-buffering: "off"
# What a gateway refuses because it drains, starts or is full, another one is
# asked. A POST is not repeated.
nginx.ingress.kubernetes.io/proxy-next-upstream: error timeout http_503
nginx.ingress.kubernetes.io/proxy-next-upstream-tries: "3"
nginx.ingress.kubernetes.io/proxy-next-upstream-timeout: "6"
# It has no least_conn.
nginx.ingress.kubernetes.io/load-balance: ewma
{{- else if eq $preset "haproxy" }}
# HAProxy's own controller, and the community's.
haproxy.org/timeout-tunnel: 75s
haproxy.org/timeout-connect: 2s
haproxy.org/timeout-server: 15s
haproxy.org/load-balance: leastconn
haproxy-ingress.github.io/timeout-tunnel: 75s
haproxy-ingress.github.io/timeout-connect: 2s
haproxy-ingress.github.io/timeout-server: 15s
haproxy-ingress.github.io/balance-algorithm: leastconn
{{- else if eq $preset "alb" }}
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/healthcheck-protocol: HTTP
alb.ingress.kubernetes.io/healthcheck-port: "9090"
alb.ingress.kubernetes.io/healthcheck-path: /readyz
alb.ingress.kubernetes.io/healthcheck-interval-seconds: "5"
alb.ingress.kubernetes.io/healthcheck-timeout-seconds: "2"
alb.ingress.kubernetes.io/healthy-threshold-count: "2"
alb.ingress.kubernetes.io/unhealthy-threshold-count: "2"
alb.ingress.kubernetes.io/success-codes: "200"
alb.ingress.kubernetes.io/load-balancer-attributes: idle_timeout.timeout_seconds=55,client_keep_alive.seconds=3600
alb.ingress.kubernetes.io/target-group-attributes: deregistration_delay.timeout_seconds={{ include "parley.gatewayDrain" . }},load_balancing.algorithm.type=least_outstanding_requests,stickiness.enabled=false
{{- else if eq $preset "gke" }}
kubernetes.io/ingress.class: gce
{{- end }}
{{- end -}}

{{/* Seconds from the first word that a gateway ends to its last client. */}}
{{- define "parley.gatewayDrain" -}}
{{- include "parley.drain" (mustMergeOverwrite (deepCopy .Values.defaults) (deepCopy .Values.gateway)) -}}
{{- end -}}
