{{/* A program's settings: the file that it is given, and its environment. */}}

{{/* Seconds that sending a gateway's clients away may take. */}}
{{- define "parley.drain" -}}
{{- add (include "parley.seconds" (get .config "drain-delay" | default "0s") | int) (include "parley.seconds" (get .config "drain-timeout" | default "20s") | int) -}}
{{- end -}}

{{/* Seconds that a program's stopping may take in all: the drain and 5 s for what comes after it, or the program's own 25. name, s. */}}
{{- define "parley.grace" -}}
{{- if hasKey .s.config "grace" -}}
{{- include "parley.seconds" .s.config.grace -}}
{{- else if eq .name "gateway" -}}
{{- add (include "parley.drain" .s | int) 5 -}}
{{- else -}}
25
{{- end -}}
{{- end -}}

{{/* The file of --config. root, name, s. */}}
{{- define "parley.config" -}}
{{- $v := .root.Values -}}
{{- $full := include "parley.fullname" .root -}}
{{- $own := dict "admin-addr" ":9090" "grace" (printf "%ss" (include "parley.grace" .)) -}}
{{- /* NATS */ -}}
{{- $url := $v.nats.url -}}
{{- if include "parley.natsIncluded" .root -}}
{{- $url = printf "%s://%s-nats:4222" (ternary "tls" "nats" (ne (include "parley.natsTLS" .root) "")) $full -}}
{{- end -}}
{{- $own = mergeOverwrite $own (dict "nats-url" $url "replicas" (int $v.nats.streamReplicas) "nats-synced" $v.nats.synced) -}}
{{- if and $v.nats.auth.existingSecret (eq $v.nats.auth.method "credentials") -}}
{{- $_ := set $own "nats-credentials" (printf "/etc/parley/nats-auth/%s" $v.nats.auth.credentialsKey) -}}
{{- else if and $v.nats.auth.existingSecret (eq $v.nats.auth.method "nkey") -}}
{{- $_ := set $own "nats-nkey" (printf "/etc/parley/nats-auth/%s" $v.nats.auth.nkeyKey) -}}
{{- end -}}
{{- if include "parley.natsTLS" .root -}}
{{- $_ := set $own "nats-ca" "/etc/parley/nats-tls/ca.crt" -}}
{{- if $v.nats.tls.clientCertificate -}}
{{- $own = mergeOverwrite $own (dict "nats-cert" "/etc/parley/nats-tls/tls.crt" "nats-key" "/etc/parley/nats-tls/tls.key") -}}
{{- end -}}
{{- end -}}
{{- /* trust */ -}}
{{- if include "parley.development" .root -}}
{{- $_ := set $own "dev" true -}}
{{- end -}}
{{- if include "parley.tls" .root -}}
{{- $own = mergeOverwrite $own (dict "service-cert" "/etc/parley/service-tls/tls.crt" "service-key" "/etc/parley/service-tls/tls.key" "service-ca" "/etc/parley/service-tls/ca.crt") -}}
{{- end -}}
{{- if ne .name "gateway" -}}
{{- $_ := set $own "grpc-addr" (printf ":%s" (include "parley.grpcPort" .name)) -}}
{{- if $v.trust.tls.peers }}{{ $_ := set $own "service-peers" $v.trust.tls.peers }}{{ end -}}
{{- if $v.trust.callers.existingSecret -}}
{{- $_ := set $own "callers-file" (printf "/etc/parley/callers/%s" $v.trust.callers.key) -}}
{{- end -}}
{{- end -}}
{{- /* the others */ -}}
{{- range get (dict "gateway" (list "auth" "registry" "history" "presence") "registry" (list "history" "presence") "events" (list "presence")) .name | default list -}}
{{- $_ := set $own (printf "%s-addr" .) (printf "dns:///%s-%s:%s" $full . (include "parley.grpcPort" .)) -}}
{{- end -}}
{{- if and $v.users.issuers (has .name (list "gateway" "auth")) -}}
{{- $_ := set $own "issuers-file" "/etc/parley/config/issuers.yaml" -}}
{{- end -}}
{{- /* of one program */ -}}
{{- if eq .name "gateway" -}}
{{- $_ := set $own "http-addr" ":8080" -}}
{{- if .s.hook.tls.existingSecret -}}
{{- $_ := set $own "hook-ca" "/etc/parley/hook-tls/ca.crt" -}}
{{- if .s.hook.tls.clientCertificate -}}
{{- $own = mergeOverwrite $own (dict "hook-cert" "/etc/parley/hook-tls/tls.crt" "hook-key" "/etc/parley/hook-tls/tls.key") -}}
{{- end -}}
{{- end -}}
{{- with dig "limits" "memory" "" .s.resources -}}
{{- $_ := set $own "memory-limit" (include "parley.bytes" .) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .name "auth") $v.trial -}}
{{- $_ := set $own "auto-register" true -}}
{{- end -}}
{{- /* What somebody has set wins. */ -}}
{{- toYaml (mergeOverwrite $own .s.config) -}}
{{- end -}}

{{/* The data of a program's ConfigMap. root, name, s. */}}
{{- define "parley.configData" -}}
config.yaml: |
  {{- include "parley.config" . | nindent 2 }}
{{- if and .root.Values.users.issuers (has .name (list "gateway" "auth")) }}
issuers.yaml: |
  {{- dict "issuers" .root.Values.users.issuers | toYaml | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A variable with a secret's value. name, secret, key, optional. */}}
{{- define "parley.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end -}}

{{/* The secrets that a program is given in its environment. root, name, s. */}}
{{- define "parley.secretEnvs" -}}
{{- $v := .root.Values -}}
{{- with $v.trust.existingSecret }}
{{/* With certificates the token is not needed. */}}
{{- include "parley.secretEnv" (dict "name" "PARLEY_SERVICE_TOKEN" "secret" . "key" "service-token" "optional" (include "parley.tls" $.root)) }}
{{- if ne $.name "gateway" }}
{{ include "parley.secretEnv" (dict "name" "PARLEY_ADMIN_TOKEN" "secret" . "key" "admin-token" "optional" true) }}
{{ include "parley.secretEnv" (dict "name" "PARLEY_BACKEND_TOKEN" "secret" . "key" "backend-token" "optional" true) }}
{{- end }}
{{- end }}
{{- if and $v.users.jwt.existingSecret (has .name (list "gateway" "auth")) }}
{{ include "parley.secretEnv" (dict "name" "PARLEY_JWT_SECRET" "secret" $v.users.jwt.existingSecret "key" $v.users.jwt.key) }}
{{- end }}
{{- if and (eq .name "gateway") (dig "hook" "existingSecret" "" .s) }}
{{ include "parley.secretEnv" (dict "name" "PARLEY_HOOK_TOKEN" "secret" .s.hook.existingSecret "key" .s.hook.key) }}
{{- end }}
{{- if and $v.nats.auth.existingSecret (eq $v.nats.auth.method "password") }}
{{ include "parley.secretEnv" (dict "name" "PARLEY_NATS_USER" "secret" $v.nats.auth.existingSecret "key" $v.nats.auth.userKey) }}
{{ include "parley.secretEnv" (dict "name" "PARLEY_NATS_PASSWORD" "secret" $v.nats.auth.existingSecret "key" $v.nats.auth.passwordKey) }}
{{- end }}
{{- end -}}

{{/* The volumes that a program is given, as {name: source}; each is mounted at /etc/parley/<name>. root, name, s. */}}
{{- define "parley.files" -}}
{{- $v := .root.Values -}}
config:
  configMap:
    name: {{ include "parley.fullname" .root }}-{{ .name }}
{{- if include "parley.tls" .root }}
service-tls:
  secret:
    secretName: {{ include "parley.tlsSecret" .root }}
    defaultMode: 0440
{{- end }}
{{- if and $v.trust.callers.existingSecret (ne .name "gateway") }}
callers:
  secret:
    secretName: {{ $v.trust.callers.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if and $v.nats.auth.existingSecret (ne $v.nats.auth.method "password") }}
nats-auth:
  secret:
    secretName: {{ $v.nats.auth.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if and (eq .name "gateway") (dig "hook" "tls" "existingSecret" "" .s) }}
hook-tls:
  secret:
    secretName: {{ .s.hook.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- with include "parley.natsTLS" .root }}
nats-tls:
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}
