{{/* Secrets that would stand where everybody who may read pods and ConfigMaps sees them, and labels that selectors need. */}}

{{- define "loraplex.checks.plain" -}}
{{- $named := "(?i)(^|_)(password|passwd|secret|token|api_key|access_key|secret_key|private_key|credentials)$" -}}
{{- $engine := default dict (dig "engine" "env" dict .Values.config) -}}
{{- $places := dict "extraEnv" .Values.extraEnv "gateway.env" .Values.gateway.env "control.env" .Values.control.env "knowledge.env" .Values.knowledge.env "config.engine.env" $engine -}}
{{- range $place, $variables := $places -}}
{{- range $name, $text := $variables -}}
{{- if regexMatch $named $name -}}
{{- fail (printf "%s.%s: sounds like a secret, and would be plain text in the pod; name a Secret in secrets.env.%s." $place $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $option := default dict (dig "artifacts" "options" dict .Values.config) -}}
{{- if regexMatch "(?i)^(key|.*(password|secret|token|account_key).*)$" $name -}}
{{- fail (printf "config.artifacts.options.%s: sounds like a secret, and would be plain text in a ConfigMap; name a Secret in objectStore.existingSecret." $name) -}}
{{- end -}}
{{- end -}}
{{- $addresses := dict "config" (.Values.config | toJson) "objectStore.url" .Values.objectStore.url "objectStore.endpoint" .Values.objectStore.endpoint "milvus.uri" .Values.milvus.uri "ray.gcsFaultTolerance.redisAddress" .Values.ray.gcsFaultTolerance.redisAddress "autoscaling.keda.serverAddress" .Values.autoscaling.keda.serverAddress -}}
{{- range $place, $text := $addresses -}}
{{- with regexFind "[a-z0-9+]+://[^/@\\s\"]*:[^/@\\s\"]+@" $text -}}
{{- fail (printf "%s: an address (%s…) holds a password, and would be plain text in a ConfigMap or a pod; take it out, and name a Secret beside it." $place (regexFind "[a-z0-9+]+://" .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.checks.labels" -}}
{{- $places := dict "gateway.podLabels" .Values.gateway.podLabels "control.podLabels" .Values.control.podLabels "knowledge.podLabels" .Values.knowledge.podLabels "ray.head.podLabels" .Values.ray.head.podLabels -}}
{{- range $index, $group := .Values.ray.workers -}}
{{- $_ := set $places (printf "ray.workers[%d].podLabels" $index) (default dict (get $group "podLabels")) -}}
{{- end -}}
{{- range $place, $labels := $places -}}
{{- range $name := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- if hasKey $labels $name -}}
{{- fail (printf "%s: %s is what Services, network policies and budgets find the pod by; take another name." $place $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
