{{/*
The configuration of one Kubernetes namespace as YAML: `config`, what differs there, and where the injector puts the
state. Call with (dict "root" $ "namespace" NAME).
*/}}
{{- define "lunasec.config" -}}
{{- $own := index .root.Values.namespaces .namespace | default dict -}}
{{- $config := mustMergeOverwrite (dict "degrade" dict) (deepCopy .root.Values.config) (deepCopy $own) -}}
{{- $_ := set $config.degrade "state_dir" "/var/lib/lunasec/state" -}}
{{- include "lunasec.config.check" (dict "config" $config "namespace" .namespace) -}}
{{- toYaml $config -}}
{{- end }}

{{/* That as the file lunasec.toml. */}}
{{- define "lunasec.config.file" -}}
{{- include "lunasec.toml" (dict "table" (include "lunasec.config" . | fromYaml) "path" "") | trim -}}
{{- end }}

{{/* What the schema of the values cannot see, since it sees only parts. `lunasec check` sees more. */}}
{{- define "lunasec.config.check" -}}
{{- $config := .config -}}
{{- $where := printf "namespaces.%s, merged over config" .namespace -}}
{{- range $table := list "storage" "keys" }}
{{- if not (dig $table "kind" "" $config) }}
{{- fail (printf "%s, has no %s.kind: say where the sidecars of that namespace keep their %s" $where $table (ternary "records" "keys" (eq $table "storage"))) }}
{{- end }}
{{- end }}
{{- range $field := list "bucket" "region" }}
{{- if and (eq $config.storage.kind "s3") (not (get $config.storage $field)) }}
{{- fail (printf "%s, has storage.kind s3 and no storage.%s" $where $field) }}
{{- end }}
{{- end }}
{{- range $field := list "key_id" "region" }}
{{- if and (eq $config.keys.kind "kms") (not (get $config.keys $field)) }}
{{- fail (printf "%s, has keys.kind kms and no keys.%s" $where $field) }}
{{- end }}
{{- end }}
{{- if not $config.clients }}
{{- fail (printf "%s, has no clients: no application could call its sidecar. Name one by the uid or gid it runs as" $where) }}
{{- end }}
{{- end }}
