{{/* The injector's settings file. */}}
{{- define "lunasec.settings" -}}
{{- include "lunasec.settings.check" . -}}
version = {{ .Chart.AppVersion | toJson }}

[sidecar]
image = {{ include "lunasec.image" (dict "root" $ "name" "sidecar") | toJson }}
pull_policy = {{ .Values.image.sidecar.pullPolicy | toJson }}
user = 64733
config_map = {{ .Values.sidecar.configMap | toJson }}
admin = {{ printf "[::]:%s" (include "lunasec.adminPort" .) | toJson }}
log_level = {{ .Values.sidecar.logLevel | toJson }}
cpu_request = {{ .Values.sidecar.cpuRequest | toJson }}
cpu_limit = {{ .Values.sidecar.cpuLimit | toJson }}
mem_request = {{ .Values.sidecar.memRequest | toJson }}
mem_limit = {{ .Values.sidecar.memLimit | toJson }}
journal = {{ ternary "ephemeral-acknowledged" "annotated" (eq ((.Values.journal).volume | default "annotated") "emptyDir") | toJson }}
state_limit = {{ .Values.sidecar.stateLimit | default "" | toJson }}
pod_identity = {{ .Values.sidecar.podIdentity | default "169.254.170.23" | toJson }}
ca_bundle = {{ not (empty .Values.caBundle) }}

[webhook]
listen = {{ printf "[::]:%s" (include "lunasec.webhook.port" .) | toJson }}
service = {{ include "lunasec.name" . | toJson }}
secret = {{ printf "%s-tls" (include "lunasec.name" .) | toJson }}
configuration = {{ include "lunasec.name" . | toJson }}
certificate_lifetime = {{ .Values.injector.certificateLifetime | toJson }}
authority_lifetime = {{ .Values.injector.authorityLifetime | toJson }}
excluded_namespaces = {{ include "lunasec.excluded" . }}
unlabelled_namespaces = {{ .Values.webhook.unlabelledNamespaces }}

[admin]
listen = {{ printf "[::]:%s" (include "lunasec.injector.adminPort" .) | toJson }}

[reconciler]
every = {{ .Values.reconciler.every | toJson }}
restart = {{ .Values.reconciler.restart }}
lease = {{ include "lunasec.name" . | toJson }}

[log]
level = {{ .Values.injector.logLevel | toJson }}
format = "json"
{{- end }}

{{/* What the injector would refuse when it starts, while helm says that all went well. */}}
{{- define "lunasec.settings.check" -}}
{{- $life := include "lunasec.seconds" .Values.injector.certificateLifetime | int -}}
{{- $authority := include "lunasec.seconds" .Values.injector.authorityLifetime | int -}}
{{- if gt (mul 3 (add $life 300)) $authority }}
{{- fail (printf "injector.certificateLifetime is %s: with five minutes more that is above a third of injector.authorityLifetime, %s, and an authority must outlive what it signs" .Values.injector.certificateLifetime .Values.injector.authorityLifetime) }}
{{- end }}
{{- $sidecar := .Values.sidecar -}}
{{- range $what := list "cpu" "mem" }}
{{- $request := get $sidecar (printf "%sRequest" $what) }}
{{- $limit := get $sidecar (printf "%sLimit" $what) }}
{{- if and $limit (gt (include "lunasec.quantity" $request | float64) (include "lunasec.quantity" $limit | float64)) }}
{{- fail (printf "sidecar.%sRequest is %s, more than sidecar.%sLimit, %s" $what $request $what $limit) }}
{{- end }}
{{- end }}
{{- if eq (include "lunasec.webhook.port" .) (include "lunasec.injector.adminPort" .) }}
{{- fail (printf "webhook.port and injector.adminPort are both %s" (include "lunasec.webhook.port" .)) }}
{{- end }}
{{- end }}

{{/* A quantity such as 50m or 1.5Gi as a number. */}}
{{- define "lunasec.quantity" -}}
{{- $units := dict "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[A-Za-z]*$" .) | default 1 | float64) -}}
{{- end }}
