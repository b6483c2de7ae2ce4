{{/* The names of the nodes' hosts, as a JSON list. */}}
{{- define "parley.natsHosts" -}}
{{- $full := include "parley.fullname" . -}}
{{- $hosts := list -}}
{{- range until (int .Values.nats.included.replicas) -}}
{{- $hosts = append $hosts (printf "%s-nats-%d.%s-nats-headless" $full . $full) -}}
{{- end -}}
{{- toJson $hosts -}}
{{- end -}}

{{/* The configuration of a node. $NAME is a variable of its environment. */}}
{{- define "parley.natsConfig" -}}
{{- $n := .Values.nats.included -}}
server_name: $POD_NAME
listen: "0.0.0.0:4222"
http: "0.0.0.0:8222"
# What a message takes at most, with headers to spare (max-message is 512 KiB at most).
max_payload: 1048576
# A node that is to end hands over what it leads and sends its clients to others,
# in this time. The pod's grace is longer.
lame_duck_grace_period: "10s"
lame_duck_duration: "30s"
jetstream {
  store_dir: "/data"
  # A tenth of the volume is left to its file system.
  max_file_store: {{ div (mul (include "parley.bytes" $n.storage.size | int64) 9) 10 }}
  # Parley has no streams in memory; its watchers are a little.
  max_memory_store: 67108864
  {{- if .Values.nats.synced }}
  sync_interval: always
  {{- end }}
}
{{- if gt (int $n.replicas) 1 }}
cluster {
  name: {{ include "parley.fullname" . | quote }}
  listen: "0.0.0.0:6222"
  connect_retries: 120
  routes: [
    {{- range include "parley.natsHosts" . | fromJsonArray }}
    "nats://{{ . }}:6222"
    {{- end }}
  ]
  {{- if include "parley.natsTLS" . }}
  tls {
    cert_file: "/etc/nats-tls/tls.crt"
    key_file: "/etc/nats-tls/tls.key"
    ca_file: "/etc/nats-tls/ca.crt"
    verify: true
    timeout: 5
  }
  {{- end }}
}
{{- end }}
{{- if include "parley.natsTLS" . }}
tls {
  cert_file: "/etc/nats-tls/tls.crt"
  key_file: "/etc/nats-tls/tls.key"
  ca_file: "/etc/nats-tls/ca.crt"
  verify: {{ .Values.nats.tls.clientCertificate }}
  timeout: 5
}
{{- end }}
{{- if .Values.nats.auth.existingSecret }}
authorization {
  user: $NATS_USER
  password: $NATS_PASSWORD
  timeout: 5
}
{{- end }}
{{- end -}}
