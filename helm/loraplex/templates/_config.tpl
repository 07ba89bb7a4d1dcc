{{/* The gateway's configuration: `config`, and beneath it what the chart knows. Where both name a place, _checks.tpl
     refuses; a path that `config` sets stays as it is. */}}

{{- define "loraplex.configuration" -}}
{{- $made := include "loraplex.madeConfiguration" . | fromYaml -}}
{{- merge (deepCopy .Values.config) $made | toYaml -}}
{{- end -}}

{{- define "loraplex.madeConfiguration" -}}
{{- $fullname := include "loraplex.fullname" . -}}
{{- $several := ne .Values.topology "standalone" -}}
server:
  host: 0.0.0.0
  drain_timeout_s: {{ .Values.gateway.drainSeconds }}
adapters:
  cache_dir: /var/lib/loraplex/adapters
life:
  folder: /var/lib/loraplex/life
logging:
  audit:
    file: /var/lib/loraplex/audit.jsonl
state:
{{- if not $several }}
  url: sqlite:////var/lib/loraplex/state.db
{{- else if .Values.postgresql.bundled.enabled }}
  url: postgresql+psycopg://loraplex@{{ $fullname }}-postgresql:5432/loraplex
{{- else if .Values.postgresql.url }}
  url: {{ .Values.postgresql.url | quote }}
{{- else }}
  {}
{{- end }}
artifacts:
{{- if .Values.objectStore.url }}
  url: {{ .Values.objectStore.url | quote }}
{{- else }}
  url: /var/lib/loraplex/artifacts
{{- end }}
{{- if .Values.secrets.metricsToken.name }}
metrics:
  token_env: LORAPLEX_METRICS_TOKEN
{{- end }}
{{- if kindIs "map" .Values.config.training }}
training:
  folder: /var/lib/loraplex/jobs
{{- end }}
{{- if kindIs "map" .Values.config.knowledge }}
knowledge:
  cache_dir: /var/lib/loraplex/knowledge/cache
  index:
    uri: {{ include "loraplex.milvusUri" . }}
    {{- if .Values.milvus.existingSecret.name }}
    token_env: LORAPLEX_MILVUS_TOKEN
    {{- end }}
{{- end }}
{{- if eq .Values.topology "deployment" }}
services:
  control:
    url: http://{{ $fullname }}-control:{{ include "loraplex.port" . }}
  {{- if include "loraplex.hasKnowledge" . }}
  knowledge:
    url: http://{{ $fullname }}-knowledge:{{ include "loraplex.port" . }}
  {{- end }}
{{- end }}
{{- if eq .Values.topology "rayservice" }}
gpus_per_replica: {{ .Values.gateway.gpus }}
{{- end }}
{{- end -}}

{{- define "loraplex.milvusUri" -}}
{{- $milvus := .Values.milvus -}}
{{- if eq $milvus.mode "external" -}}
{{- $milvus.uri | quote -}}
{{- else if eq $milvus.mode "cluster" -}}
http://{{ $milvus.cluster.service }}.{{ default .Release.Namespace $milvus.cluster.namespace }}.svc:{{ $milvus.cluster.port }}
{{- else if eq $milvus.mode "standalone" -}}
http://{{ include "loraplex.fullname" . }}-milvus:19530
{{- else -}}
/var/lib/loraplex/knowledge/milvus.db
{{- end -}}
{{- end -}}

{{/* The data of the ConfigMap: the configuration, and the files beside it under keys that Kubernetes takes. */}}
{{- define "loraplex.configData" -}}
config.yaml: |
  {{- include "loraplex.configuration" . | nindent 2 }}
{{- range $path, $text := .Values.configFiles }}
{{ include "loraplex.configFileKey" $path }}: {{ $text | quote }}
{{- end }}
{{- end -}}

{{- define "loraplex.configFileKey" -}}
{{- printf "file-%s" (sha256sum . | trunc 16) -}}
{{- end -}}

{{/* A volume with the configuration: (dict "root" $ "name" the ConfigMap's). */}}
{{- define "loraplex.configVolume" -}}
name: config
configMap:
  name: {{ .name }}
  items:
    - key: config.yaml
      path: config.yaml
    {{- range $path, $text := .root.Values.configFiles }}
    - key: {{ include "loraplex.configFileKey" $path }}
      path: {{ $path | quote }}
    {{- end }}
{{- end -}}
