{{/* Who may reach a program, and with egress, whom it may call. */}}

{{/* Peers that are programs of this release. root, names. */}}
{{- define "parley.peers" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ include "parley.name" .root }}
      app.kubernetes.io/instance: {{ .root.Release.Name }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: [{{ join ", " .names }}]}
{{- end -}}

{{/* Peers that may read admin ports, as a list. */}}
{{- define "parley.monitorPeers" -}}
{{- $m := .Values.monitoring -}}
{{- if .Values.networkPolicy.monitors -}}
{{- toYaml .Values.networkPolicy.monitors -}}
{{- else if or $m.podMonitor.enabled $m.serviceMonitor.enabled .Values.gateway.keda.enabled -}}
- namespaceSelector: {}
{{- end -}}
{{- end -}}

{{/* Peers that check a gateway's health from outside. */}}
{{- define "parley.healthCheckPeers" -}}
{{- $preset := ternary .Values.gateway.ingress.preset "" .Values.gateway.ingress.enabled -}}
{{- $own := get (dict "gke" (list "35.191.0.0/16" "130.211.0.0/22") "alb" (list "0.0.0.0/0" "::/0")) $preset | default list -}}
{{- range .Values.networkPolicy.healthCheckRanges | default $own }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "parley.egress" -}}
{{- if .Values.networkPolicy.egress.enabled }}
egress:
  - ports:
      - {port: 53, protocol: UDP}
      - {port: 53, protocol: TCP}
  - to:
      - podSelector:
          matchLabels:
            app.kubernetes.io/name: {{ include "parley.name" . }}
            app.kubernetes.io/instance: {{ .Release.Name }}
  {{- with .Values.networkPolicy.egress.extra }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "parley.networkPolicy" -}}
{{- if .root.Values.networkPolicy.enabled -}}
{{- $v := .root.Values.networkPolicy -}}
{{- $callers := get (dict "auth" (list "gateway") "registry" (list "gateway") "history" (list "gateway" "registry")
    "presence" (list "gateway" "registry" "events") "events" list) .name | default list -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "parley.metadata" (dict "root" .root "name" .name "suffix" (printf "-%s" .name)) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "parley.selector" . | nindent 6 }}
  policyTypes: [Ingress{{ if $v.egress.enabled }}, Egress{{ end }}]
  {{- $rules := list }}
  {{- if eq .name "gateway" }}
  {{- $rule := dict "ports" (list (dict "port" "http" "protocol" "TCP")) }}
  {{- /* helm test is a client too. */ -}}
  {{- if $v.clients }}{{ $_ := set $rule "from" (concat $v.clients (include "parley.peers" (dict "root" .root "names" (list "check")) | fromYamlArray)) }}{{ end }}
  {{- $rules = append $rules $rule }}
  {{- else }}
  {{- $from := concat (ternary (include "parley.peers" (dict "root" .root "names" $callers) | fromYamlArray) list (gt (len $callers) 0)) $v.backEnds }}
  {{- if $from }}
  {{- $rules = append $rules (dict "from" $from "ports" (list (dict "port" "grpc" "protocol" "TCP"))) }}
  {{- end }}
  {{- end }}
  {{- $from := include "parley.monitorPeers" .root | fromYamlArray }}
  {{- if eq .name "gateway" }}
  {{- $from = concat $from (include "parley.healthCheckPeers" .root | fromYamlArray) }}
  {{- end }}
  {{- if $from }}
  {{- $rules = append $rules (dict "from" $from "ports" (list (dict "port" "admin" "protocol" "TCP"))) }}
  {{- end }}
  ingress:
    {{- toYaml $rules | nindent 4 }}
  {{- include "parley.egress" .root | nindent 2 }}
{{- end -}}
{{- end -}}
