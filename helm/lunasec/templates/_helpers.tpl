{{/* Names are fixed: two injectors in one cluster would both inject, so a second release must fail. */}}
{{- define "lunasec.name" -}}lunasec-injector{{- end }}

{{/* Labels of every object. Call with (dict "root" $ "component" NAME). */}}
{{- define "lunasec.labels" -}}
app.kubernetes.io/name: lunasec
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What selects the pods of a component: never changes. */}}
{{- define "lunasec.selector" -}}
app.kubernetes.io/name: lunasec
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* What selects injected pods: the injector sets this label. */}}
{{- define "lunasec.injected" -}}
lunasec.io/injected: "true"
{{- end }}

{{/* An image's full name. Call with (dict "root" $ "image" .Values.image.NAME). */}}
{{- define "lunasec.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The security context of a container that passes the restricted Pod Security Standard. Call with its uid. */}}
{{- define "lunasec.restricted" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The Secrets that images are pulled with, or nothing. */}}
{{- define "lunasec.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* DNS, for the egress of a network policy. */}}
{{- define "lunasec.dns" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Values.networkPolicy.dnsNamespace }}
    {{- range .Values.networkPolicy.dnsCidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{/* Prometheus, for the ingress of a network policy. Call with (dict "root" $ "port" PORT). */}}
{{- define "lunasec.monitoring" -}}
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .root.Values.networkPolicy.monitoringNamespace }}
  ports:
    - {protocol: TCP, port: {{ .port }}}
{{- end }}
