{{/* What Kubernetes and Parley write as text, as numbers. */}}

{{/* Seconds of a duration, "1m30s" or "100ms", rounded up. */}}
{{- define "parley.seconds" -}}
{{- $units := dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|h|m|s)" (toString .) -1 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $sum = addf $sum (mulf (trimSuffix $unit . | float64) (get $units $unit)) -}}
{{- end -}}
{{- ceil $sum | int64 -}}
{{- end -}}

{{/* Bytes of a quantity, "512Mi" or "1.5G". */}}
{{- define "parley.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000
    "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $text := toString . -}}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)?([kMGT]|[KMGT]i)?$" $text) -}}
{{- fail (printf "%q is not a quantity of bytes that this chart can read, such as 512Mi" $text) -}}
{{- end -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- mulf (trimSuffix $unit $text | float64) (get $units $unit) | int64 -}}
{{- end -}}

{{/* GOMEMLIMIT, nine tenths of a container's limit: Go collects harder before the kernel ends the process. resources. */}}
{{- define "parley.memoryEnv" -}}
{{- with dig "limits" "memory" "" . }}
- name: GOMEMLIMIT
  value: {{ div (mul (include "parley.bytes" . | int64) 9) 10 | quote }}
{{- end }}
{{- end -}}
