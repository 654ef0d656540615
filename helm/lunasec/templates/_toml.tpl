{{/*
TOML of a table: first what stands in it, then the tables below it, by name. Helm's own toToml writes a whole number
as 5000.0, which the sidecar does not take for one. Call with (dict "table" TABLE "path" ""). JSON's strings are TOML's.
*/}}
{{- define "lunasec.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .table }}
{{- if not (or (kindIs "map" $value) (include "lunasec.toml.isTables" $value)) }}
{{ include "lunasec.toml.key" $key }} = {{ include "lunasec.toml.value" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- $name := printf "%s%s" $path (include "lunasec.toml.key" $key) }}
{{- if kindIs "map" $value }}

[{{ $name }}]
{{- include "lunasec.toml" (dict "table" $value "path" (printf "%s." $name)) }}
{{- else if include "lunasec.toml.isTables" $value }}
{{- range $value }}

[[{{ $name }}]]
{{- include "lunasec.toml" (dict "table" . "path" (printf "%s." $name)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Something, if it is a list of tables. */}}
{{- define "lunasec.toml.isTables" -}}
{{- if and (kindIs "slice" .) (not (empty .)) }}{{ if kindIs "map" (first .) }}yes{{ end }}{{ end -}}
{{- end }}

{{- define "lunasec.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end }}

{{- define "lunasec.toml.value" -}}
{{- if kindIs "slice" . -}}
[{{ range $at, $each := . }}{{ if $at }}, {{ end }}{{ include "lunasec.toml.value" $each }}{{ end }}]
{{- else if kindIs "string" . -}}
{{ toJson . }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else -}}
{{ int64 . }}
{{- end -}}
{{- end }}
