{{/* Names and labels. */}}

{{- define "parley.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What every object's name begins with: room is left for "-registry-service-tls". */}}
{{- define "parley.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "parley.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The labels that find a component's pods. root, name. */}}
{{- define "parley.selector" -}}
app.kubernetes.io/name: {{ include "parley.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* The labels of an object. root, name. */}}
{{- define "parley.labels" -}}
{{- $own := dict "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
    "app.kubernetes.io/version" .root.Chart.AppVersion
    "app.kubernetes.io/part-of" "parley"
    "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- include "parley.selector" . | fromYaml | merge $own | mergeOverwrite (deepCopy .root.Values.commonLabels) | toYaml -}}
{{- end -}}

{{/* metadata of an object. root, name, suffix (of the object's name, "-auth"), and labels and annotations of its own. */}}
{{- define "parley.metadata" -}}
name: {{ include "parley.fullname" .root }}{{ .suffix }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "parley.labels" . | fromYaml | mergeOverwrite (deepCopy (default dict .labels)) | toYaml | nindent 2 }}
{{- with merge (deepCopy (default dict .annotations)) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The name of a component's service account. root, name, account. */}}
{{- define "parley.account" -}}
{{- if .account.create -}}
{{- default (printf "%s-%s" (include "parley.fullname" .root) .name) .account.name -}}
{{- else -}}
{{- default "default" .account.name -}}
{{- end -}}
{{- end -}}

{{/* An image's name. root, image. */}}
{{- define "parley.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .image.registry | default .root.Values.image.registry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .image.repository -}}
{{- if .image.digest -}}
@{{ .image.digest }}
{{- else -}}
:{{ .image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* imagePullSecrets of a pod. root, image. */}}
{{- define "parley.pullSecrets" -}}
{{- with concat .root.Values.global.imagePullSecrets .root.Values.image.pullSecrets (default list .image.pullSecrets) | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}
