{{- define "velvet.labels" -}}
app.kubernetes.io/name: velvet
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "velvet.name" -}}
{{ .root.Release.Name }}-{{ .part }}
{{- end }}

{{- define "velvet.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* velvet.toml without a secret: those come from the environment. */}}
{{- define "velvet.config" -}}
[kafka]
brokers = {{ .Values.kafka.brokers | quote }}
partitions = {{ .Values.kafka.partitions }}
replication = {{ .Values.kafka.replication }}

[redis]
urls = [{{ range $i, $url := .Values.redis.urls }}{{ if $i }}, {{ end }}{{ $url | quote }}{{ end }}]

[api]
listen = "0.0.0.0:4100"
notice_ms = 5000

[identity]
keys_dir = "/etc/velvet/keys"
{{- with .Values.identity.signingKey }}
signing_key = {{ . | quote }}
{{- end }}
jwks_url = "http://{{ .Release.Name }}-serve:4100/.well-known/jwks.json"
issuer = {{ .Values.identity.issuer | quote }}
audience = {{ .Values.identity.audience | quote }}

[live]

[writer]
listen = "0.0.0.0:4200"

[telemetry]
log_format = "json"
{{- with .Values.telemetry.otlpEndpoint }}
otlp_endpoint = {{ . | quote }}
{{- end }}
trace_ratio = {{ .Values.telemetry.traceRatio }}
{{- range $name, $settings := .Values.domains }}

[domains.{{ $name }}]
{{ $settings | toToml | trim }}
{{- end }}
{{- end }}

{{- define "velvet.cursorSecret" -}}
- name: VELVET_LIVE__CURSOR_SECRET
  valueFrom: { secretKeyRef: { name: {{ .Values.secrets.velvet }}, key: cursor-secret } }
{{- end }}

{{- define "velvet.postgres" -}}
- name: VELVET_WRITER__POSTGRES
  valueFrom: { secretKeyRef: { name: {{ .Values.secrets.velvet }}, key: postgres } }
{{- end }}

{{- define "velvet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "velvet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "velvet.probes" -}}
livenessProbe: { httpGet: { path: /health, port: http }, periodSeconds: 10, failureThreshold: 6 }
readinessProbe: { httpGet: { path: /ready, port: http }, periodSeconds: 2 }
{{- end }}

{{/* Pods of one part on different nodes where there are several. */}}
{{- define "velvet.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "velvet.labels" . | nindent 6 }}
{{- end }}
