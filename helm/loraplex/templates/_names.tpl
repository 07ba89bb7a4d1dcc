{{/* Names, labels and images. Those with a component take (dict "root" $ "component" NAME). */}}

{{- define "loraplex.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 38 | trimSuffix "-" -}}
{{- end -}}

{{/* 38: KubeRay adds a suffix of its own, and the longest component's name must fit behind it. */}}
{{- define "loraplex.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 38 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "loraplex.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 38 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 38 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.componentName" -}}
{{- printf "%s-%s" (include "loraplex.fullname" .root) .component -}}
{{- end -}}

{{/* What selectors hold: it must never change between versions of the chart. */}}
{{- define "loraplex.selectorLabels" -}}
app.kubernetes.io/name: {{ include "loraplex.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "loraplex.labels" -}}
{{ include "loraplex.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: loraplex
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of pods: no version among them, so that a new version of the chart alone restarts nothing. */}}
{{- define "loraplex.podLabels" -}}
{{ include "loraplex.selectorLabels" . }}
app.kubernetes.io/part-of: loraplex
{{- end -}}

{{/* The Service that clients, Ingress and HTTPRoute talk to. KubeRay makes its own for a RayService. */}}
{{- define "loraplex.serviceName" -}}
{{- if eq .Values.topology "rayservice" -}}
{{- printf "%s-serve-svc" (include "loraplex.fullname" .) -}}
{{- else -}}
{{- include "loraplex.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.servicePort" -}}
{{- if eq .Values.topology "rayservice" -}}{{ include "loraplex.port" . }}{{- else -}}{{ .Values.service.port }}{{- end -}}
{{- end -}}

{{/* The port on which gateways, control and knowledge listen: server.port of the configuration. */}}
{{- define "loraplex.port" -}}
{{- dig "server" "port" 8000 .Values.config | int -}}
{{- end -}}

{{/* Where gateways give each other their metrics. */}}
{{- define "loraplex.peerPort" -}}
{{- if eq (include "loraplex.port" .) "8001" -}}8002{{- else -}}8001{{- end -}}
{{- end -}}

{{- define "loraplex.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "loraplex.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* One image: (dict "root" $ "repository" … "tag" … "digest" …). The registry is what stands before the first slash. */}}
{{- define "loraplex.imageOf" -}}
{{- $repository := .repository -}}
{{- if .root.Values.imageRegistry -}}
{{- $parts := splitList "/" .repository -}}
{{- $first := first $parts -}}
{{- if and (gt (len $parts) 1) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- $repository = join "/" (rest $parts) -}}
{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .root.Values.imageRegistry) $repository -}}
{{- end -}}
{{- if .digest -}}
{{- printf "%s@%s" $repository .digest -}}
{{- else -}}
{{- printf "%s:%s" $repository .tag -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.image" -}}
{{- $image := .Values.image -}}
{{- $tag := default (printf "%s-%s" .Chart.AppVersion $image.variant) $image.tag -}}
{{- include "loraplex.imageOf" (dict "root" . "repository" $image.repository "tag" $tag "digest" $image.digest) -}}
{{- end -}}

{{- define "loraplex.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether the pod that owns files, vector stores and search exists: "true" or nothing. */}}
{{- define "loraplex.hasKnowledge" -}}
{{- if and (hasKey .Values.config "knowledge") (ne .Values.topology "standalone") -}}true{{- end -}}
{{- end -}}
