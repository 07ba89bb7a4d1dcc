{{/* Environment of a container of the gateway: (dict "root" $ "own" a map of name to text "hook" true for a hook, which
     runs before the release's own Secret exists). Later ones win: the chart's, extraEnv, the component's own, secrets.env. */}}

{{- define "loraplex.env" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $plain := dict "LORAPLEX_CONFIG" "/etc/loraplex/config.yaml" "HF_HOME" "/var/lib/loraplex/hf" -}}
{{- if $values.airGapped -}}
{{- $plain = merge $plain (dict "HF_HUB_OFFLINE" "1" "TRANSFORMERS_OFFLINE" "1" "VLLM_NO_USAGE_STATS" "1" "DO_NOT_TRACK" "1") -}}
{{- end -}}
{{- with $values.objectStore.endpoint -}}{{- $plain = set $plain "AWS_ENDPOINT_URL" . -}}{{- end -}}
{{- with $values.objectStore.region -}}{{- $plain = set $plain "AWS_REGION" . -}}{{- end -}}
{{- $plain = mergeOverwrite $plain $values.extraEnv (default dict .own) -}}
{{- $made := include "loraplex.secretEnv" $root | fromYaml -}}
{{- if .hook -}}{{- $made = omit $made "LORAPLEX_SERVICE_TOKEN" -}}{{- end -}}
{{- $secret := mergeOverwrite $made $values.secrets.env -}}
{{- range $name, $text := $plain }}
{{- if not (hasKey $secret $name) }}
- name: {{ $name }}
  value: {{ $text | toString | quote }}
{{- end }}
{{- end }}
{{- range $name, $from := $secret }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name }}
      key: {{ $from.key }}
{{- end }}
{{- if eq $values.topology "deployment" }}
{{- if not (hasKey $plain "LORAPLEX_PEER_PORT") }}
- name: LORAPLEX_PEER_PORT
  value: {{ include "loraplex.peerPort" $root | quote }}
{{- end }}
{{- if not (hasKey $plain "LORAPLEX_PEER_HOST") }}
- name: LORAPLEX_PEER_HOST
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end }}
{{- if not (hasKey $plain "LORAPLEX_REPLICA") }}
- name: LORAPLEX_REPLICA
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- end }}
{{- end -}}

{{/* Variables that come from Secrets, as a map of name to {name, key}. */}}
{{- define "loraplex.secretEnv" -}}
{{- $values := .Values -}}
{{- $generated := printf "%s-generated" (include "loraplex.fullname" .) -}}
{{- if ne $values.topology "standalone" }}
{{- with $values.postgresql.existingSecret }}
{{- if .name }}
PGPASSWORD: {name: {{ .name }}, key: {{ .key }}}
{{- else if $values.postgresql.bundled.enabled }}
PGPASSWORD: {name: {{ $generated }}, key: postgresql-password}
{{- end }}
{{- end }}
{{- end }}
{{- with $values.objectStore.existingSecret }}
{{- if .name }}
AWS_ACCESS_KEY_ID: {name: {{ .name }}, key: {{ .accessKeyId }}}
AWS_SECRET_ACCESS_KEY: {name: {{ .name }}, key: {{ .secretAccessKey }}}
{{- end }}
{{- end }}
{{- with $values.milvus.existingSecret }}
{{- if .name }}
LORAPLEX_MILVUS_TOKEN: {name: {{ .name }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- with $values.secrets.metricsToken }}
{{- if .name }}
LORAPLEX_METRICS_TOKEN: {name: {{ .name }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- if eq $values.topology "deployment" }}
{{- with $values.secrets.serviceToken }}
LORAPLEX_SERVICE_TOKEN: {name: {{ default $generated .name }}, key: {{ ternary .key "service-token" (ne .name "") }}}
{{- end }}
{{- end }}

{{- end -}}
