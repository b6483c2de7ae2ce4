{{/* A certificate of cert-manager. root, name, with (its values), secret, hosts (each is meant in its longer forms too). */}}
{{- define "parley.certificate" -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  {{- include "parley.metadata" (dict "root" .root "name" .name "suffix" (printf "-%s" .name)) | nindent 2 }}
spec:
  secretName: {{ .secret }}
  duration: {{ .with.duration }}
  renewBefore: {{ .with.renewBefore }}
  issuerRef:
    {{- toYaml .with.issuerRef | nindent 4 }}
  usages: [digital signature, key encipherment, server auth, client auth]
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Always
  dnsNames:
    {{- range .hosts }}
    - {{ . | quote }}
    - {{ printf "%s.%s" . $.root.Release.Namespace | quote }}
    - {{ printf "%s.%s.svc" . $.root.Release.Namespace | quote }}
    {{- end }}
{{- end -}}
