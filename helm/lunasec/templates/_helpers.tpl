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
{{- range $key, $value := omit (.root.Values.commonLabels | default dict) "app.kubernetes.io/name" "app.kubernetes.io/component" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
{{ $key | quote }}: {{ $value | quote }}
{{- end }}
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

{{/* An image's full name. Call with (dict "root" $ "name" NAME). */}}
{{- define "lunasec.image" -}}
{{- $image := index .root.Values.image .name -}}
{{- if not $image.repository -}}
{{- fail (printf "image.%s.repository is empty, and nobody publishes the images: build and push them as docs/kubernetes.md and k8s/image/README.md say, then name where they are, such as registry.example.com/lunasec/%s" .name .name) -}}
{{- end -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
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
      {{- with .Values.networkPolicy.dnsPodLabels }}
      podSelector:
        matchLabels:
          {{- toYaml . | nindent 10 }}
      {{- end }}
    {{- range .Values.networkPolicy.dnsCidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.dnsPorts | default (list 53) }}
    - {protocol: UDP, port: {{ int . }}}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
{{- end }}

{{/* What is listed, for the egress of a network policy. */}}
{{- define "lunasec.egress" -}}
{{- range . }}
- to:
    {{- range .cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- $protocol := .protocol | default "TCP" }}
    {{- range .ports }}
    - {protocol: {{ $protocol }}, port: {{ int . }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* Where the sidecars' probes and metrics are. A release that keeps its values from before has none of these. */}}
{{- define "lunasec.adminPort" -}}{{ .Values.sidecar.adminPort | default 9464 | int }}{{- end }}
{{- define "lunasec.webhook.port" -}}{{ .Values.webhook.port | default 8443 | int }}{{- end }}
{{- define "lunasec.injector.adminPort" -}}{{ .Values.injector.adminPort | default 8080 | int }}{{- end }}

{{/* Namespaces in which nothing is injected, as JSON. */}}
{{- define "lunasec.excluded" -}}
{{- concat (list "kube-system" .Release.Namespace) (.Values.webhook.excludedNamespaces | default list) | uniq | toJson -}}
{{- end }}

{{/* Where a pod may run, and how it counts. Call with a table of nodeSelector, tolerations and priorityClassName. */}}
{{- define "lunasec.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Seconds of a time such as 30d. */}}
{{- define "lunasec.seconds" -}}
{{- $units := dict "s" 1 "m" 60 "h" 3600 "d" 86400 "w" 604800 -}}
{{- if hasSuffix "ms" . }}0{{ else }}{{ mul (regexFind "^[0-9]+" .) (get $units (regexFind "[a-z]$" .)) }}{{ end -}}
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
