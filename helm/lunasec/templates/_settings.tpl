{{/* The injector's settings file. */}}
{{- define "lunasec.settings" -}}
version = {{ .Chart.AppVersion | toJson }}

[sidecar]
image = {{ include "lunasec.image" (dict "root" $ "image" .Values.image.sidecar) | toJson }}
pull_policy = {{ .Values.image.sidecar.pullPolicy | toJson }}
user = 64733
config_map = {{ .Values.sidecar.configMap | toJson }}
admin = "0.0.0.0:9464"
log_level = {{ .Values.sidecar.logLevel | toJson }}
cpu_request = {{ .Values.sidecar.cpuRequest | toJson }}
cpu_limit = {{ .Values.sidecar.cpuLimit | toJson }}
mem_request = {{ .Values.sidecar.memRequest | toJson }}
mem_limit = {{ .Values.sidecar.memLimit | toJson }}
journal = {{ ternary "ephemeral-acknowledged" "annotated" (eq .Values.journal.volume "emptyDir") | toJson }}
ca_bundle = {{ not (empty .Values.caBundle) }}

[webhook]
listen = "0.0.0.0:8443"
service = {{ include "lunasec.name" . | toJson }}
secret = {{ printf "%s-tls" (include "lunasec.name" .) | toJson }}
configuration = {{ include "lunasec.name" . | toJson }}
certificate_lifetime = {{ .Values.injector.certificateLifetime | toJson }}
authority_lifetime = {{ .Values.injector.authorityLifetime | toJson }}

[admin]
listen = "0.0.0.0:8080"

[reconciler]
every = {{ .Values.reconciler.every | toJson }}
restart = {{ .Values.reconciler.restart }}
lease = {{ include "lunasec.name" . | toJson }}

[log]
level = {{ .Values.injector.logLevel | toJson }}
format = "json"
{{- end }}
