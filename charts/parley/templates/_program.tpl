{{/* The objects that every program has. Each takes root, name and s: the values of its block on top of defaults. */}}

{{- define "parley.spread" -}}
{{- if .s.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml .s.topologySpreadConstraints | nindent 2 }}
{{- else }}
{{- $keys := dict "zone" "topology.kubernetes.io/zone" "host" "kubernetes.io/hostname" }}
{{- $constraints := list }}
{{- range $over := list "zone" "host" }}
{{- $how := get $.s.topologySpread $over }}
{{- if and $how (ne $how "none") }}
{{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" (get $keys $over) "whenUnsatisfiable" $how
    "labelSelector" (dict "matchLabels" (include "parley.selector" $ | fromYaml)) "matchLabelKeys" (list "pod-template-hash")) }}
{{- end }}
{{- end }}
{{- with $constraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "parley.deployment" -}}
{{- $full := include "parley.fullname" .root -}}
{{- $scaled := and (eq .name "gateway") (or .s.autoscaling.enabled .s.keda.enabled) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "parley.metadata" (dict "root" .root "name" .name "suffix" (printf "-%s" .name)) | nindent 2 }}
spec:
  {{- if not $scaled }}
  replicas: {{ .s.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  minReadySeconds: {{ .s.minReadySeconds }}
  strategy:
    {{- toYaml .s.strategy | nindent 4 }}
  selector:
    matchLabels:
      {{- include "parley.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "parley.labels" . | fromYaml | mergeOverwrite (deepCopy .s.podLabels) | toYaml | nindent 8 }}
      annotations:
        # New settings are new pods.
        checksum/config: {{ include "parley.configData" . | sha256sum }}
        {{- with merge (deepCopy .s.podAnnotations) .root.Values.commonAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "parley.account" (dict "root" .root "name" .name "account" .s.serviceAccount) }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- include "parley.pullSecrets" (dict "root" .root "image" .s.image) | nindent 6 }}
      terminationGracePeriodSeconds: {{ .s.terminationGracePeriodSeconds | default (add (include "parley.grace" . | int) 5) }}
      securityContext:
        {{- toYaml .s.podSecurityContext | nindent 8 }}
      {{- with .s.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with .s.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .s.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .s.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- include "parley.spread" . | nindent 6 }}
      {{- with .s.initContainers }}
      initContainers:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .name }}
          image: {{ include "parley.image" (dict "root" .root "image" .s.image) }}
          imagePullPolicy: {{ .s.image.pullPolicy | default .root.Values.image.pullPolicy }}
          {{- with .s.command }}
          command:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          args: [--config, /etc/parley/config/config.yaml]
          ports:
            {{- if eq .name "gateway" }}
            - {name: http, containerPort: 8080, protocol: TCP}
            {{- else }}
            - {name: grpc, containerPort: {{ include "parley.grpcPort" .name }}, protocol: TCP}
            {{- end }}
            - {name: admin, containerPort: 9090, protocol: TCP}
          env:
            {{- include "parley.memoryEnv" .s.resources | nindent 12 }}
            {{- include "parley.secretEnvs" . | nindent 12 }}
            {{- with .s.env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with .s.envFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          resources:
            {{- toYaml .s.resources | nindent 12 }}
          securityContext:
            {{- toYaml .s.securityContext | nindent 12 }}
          {{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" }}
          {{- with get $.s $probe }}
          {{ $probe }}:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- end }}
          volumeMounts:
            {{- range $name, $_ := include "parley.files" . | fromYaml }}
            - {name: {{ $name }}, mountPath: /etc/parley/{{ $name }}, readOnly: true}
            {{- end }}
            {{- with .s.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
        {{- with .s.extraContainers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumes:
        {{- range $name, $source := include "parley.files" . | fromYaml }}
        - name: {{ $name }}
          {{- toYaml $source | nindent 10 }}
        {{- end }}
        {{- with .s.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{- define "parley.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "parley.metadata" (dict "root" .root "name" .name "suffix" (printf "-%s" .name)) | nindent 2 }}
data:
  {{- include "parley.configData" . | nindent 2 }}
{{- end -}}

{{/* A service of gRPC is headless: its callers know all its pods and go round them. */}}
{{- define "parley.grpcService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "parley.metadata" (dict "root" .root "name" .name "suffix" (printf "-%s" .name)) | nindent 2 }}
spec:
  clusterIP: None
  # Callers ask each pod themselves whether it is ready (gRPC's health checks). A
  # name that is empty until the first one is would be looked up ever more rarely.
  publishNotReadyAddresses: true
  selector:
    {{- include "parley.selector" . | nindent 4 }}
  ports:
    - name: grpc
      port: {{ include "parley.grpcPort" .name }}
      targetPort: grpc
      appProtocol: {{ ternary "tls" "grpc" (eq (include "parley.tls" .root) "true") }}
{{- end -}}

{{- define "parley.disruptionBudget" -}}
{{- $b := .s.podDisruptionBudget -}}
{{- if and $b.enabled (gt (include "parley.pods" . | int) 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "parley.metadata" (dict "root" .root "name" .name "suffix" (printf "-%s" .name)) | nindent 2 }}
spec:
  {{- if not (kindIs "invalid" $b.minAvailable) }}
  minAvailable: {{ $b.minAvailable }}
  {{- else }}
  maxUnavailable: {{ ternary 1 $b.maxUnavailable (kindIs "invalid" $b.maxUnavailable) }}
  {{- end }}
  # A pod that is not ready serves nobody: it may go at any time.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "parley.selector" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{- define "parley.serviceAccount" -}}
{{- if .s.serviceAccount.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- $metadata := include "parley.metadata" (dict "root" .root "name" .name "suffix" (printf "-%s" .name) "annotations" .s.serviceAccount.annotations) | fromYaml }}
  {{- $_ := set $metadata "name" (include "parley.account" (dict "root" .root "name" .name "account" .s.serviceAccount)) }}
  {{- toYaml $metadata | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}
