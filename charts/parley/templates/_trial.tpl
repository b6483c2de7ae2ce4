{{/* What follows from what was given, "true" or nothing. */}}

{{/* The included NATS is run. */}}
{{- define "parley.natsIncluded" -}}
{{- if kindIs "bool" .Values.nats.included.enabled -}}
{{- if .Values.nats.included.enabled }}true{{ end -}}
{{- else if .Values.trial -}}
true
{{- end -}}
{{- end -}}

{{/* The services show certificates. */}}
{{- define "parley.tls" -}}
{{- if or .Values.trust.tls.existingSecret .Values.trust.tls.certManager.enabled }}true{{ end -}}
{{- end -}}

{{/* The services have nothing to know each other by, so everybody is trusted. */}}
{{- define "parley.development" -}}
{{- if not (or .Values.trust.existingSecret (include "parley.tls" .)) }}true{{ end -}}
{{- end -}}

{{/* The secret with NATS's authority, and where a certificate is needed that; nothing without TLS. */}}
{{- define "parley.natsTLS" -}}
{{- with .Values.nats.tls -}}
{{- .existingSecret | default (ternary (printf "%s-nats-tls" (include "parley.fullname" $)) "" .certManager.enabled) -}}
{{- end -}}
{{- end -}}

{{- define "parley.tlsSecret" -}}
{{- .Values.trust.tls.existingSecret | default (printf "%s-service-tls" (include "parley.fullname" .)) -}}
{{- end -}}

{{/* Of how many pods a program will be, at least; which is what decides on a disruption budget. name, s. */}}
{{- define "parley.pods" -}}
{{- if and (eq .name "gateway") .s.autoscaling.enabled -}}
{{- .s.autoscaling.minReplicas -}}
{{- else if and (eq .name "gateway") .s.keda.enabled -}}
{{- .s.keda.minReplicas -}}
{{- else -}}
{{- .s.replicas -}}
{{- end -}}
{{- end -}}

{{/* The programs that are run. */}}
{{- define "parley.programs" -}}
{{- $programs := list "gateway" "auth" "registry" "history" "presence" -}}
{{- if .Values.events.enabled }}{{ $programs = append $programs "events" }}{{ end -}}
{{- toJson $programs -}}
{{- end -}}

{{/* Where a program serves gRPC; the same as each has by itself. */}}
{{- define "parley.grpcPort" -}}
{{- get (dict "auth" 9101 "registry" 9102 "history" 9103 "presence" 9104 "events" 9105) . -}}
{{- end -}}

{{/* helm test can sign in: it registers accounts, or makes tokens with the JWT secret. */}}
{{- define "parley.testable" -}}
{{- $registration := dig "registration" "open" (mustMergeOverwrite (deepCopy .Values.defaults.config) (deepCopy (default dict .Values.auth.config))) -}}
{{- if or (eq $registration "open") .Values.users.jwt.existingSecret }}true{{ end -}}
{{- end -}}
