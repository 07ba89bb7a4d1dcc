{{/* What Serve runs. The number of replicas stands in `deployments`, never in `args`, whose change restarts them all. */}}
{{- define "loraplex.serveConfig" -}}
{{- $scaling := .Values.ray.serveAutoscaling -}}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: {{ include "loraplex.port" . }}
applications:
  - name: loraplex
    import_path: serving.kubernetes:build
    route_prefix: /
    args:
      {{- with .Values.ray.revision }}
      revision: {{ . | quote }}
      {{- end }}
      config:
        {{- include "loraplex.configuration" . | nindent 8 }}
    deployments:
      - name: Gateway
        {{- if $scaling.enabled }}
        autoscaling_config:
          min_replicas: {{ $scaling.minReplicas }}
          max_replicas: {{ $scaling.maxReplicas }}
          target_ongoing_requests: {{ $scaling.targetOngoingRequests }}
          upscale_delay_s: {{ $scaling.upscaleDelaySeconds }}
          downscale_delay_s: {{ $scaling.downscaleDelaySeconds }}
        {{- else }}
        num_replicas: {{ .Values.gateway.replicas }}
        {{- end }}
{{- end -}}

{{/* What every container of the cluster needs: files/ray-environment.yaml comes from serving/process/ray_environment.py.
     `longestPlus`: seconds on top of the longest request. */}}
{{- define "loraplex.rayEnv" -}}
{{- $config := .Values.config -}}
{{- $longest := ceil (addf (dig "server" "request_timeout_s" 600 $config) (dig "limits" "adapter_wait_s" 60 $config)) | int -}}
{{- range $name, $entry := .Files.Get "files/ray-environment.yaml" | fromYaml }}
{{- if hasKey $entry "longestPlus" }}
{{ $name }}: {{ add $longest $entry.longestPlus | quote }}
{{- else }}
{{ $name }}: {{ $entry.value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Pod template of head and workers: (dict "root" $ "component" NAME "own" … "resources" … "gpus" N). */}}
{{- define "loraplex.rayPod" -}}
{{- $values := .root.Values -}}
{{- $head := eq .component "ray-head" -}}
metadata:
  {{- $annotations := merge (dict "checksum/files" ($values.configFiles | toJson | sha256sum)) (default dict .own.podAnnotations) }}
  annotations:
    {{- toYaml $annotations | nindent 4 }}
  labels:
    {{- include "loraplex.podLabels" . | nindent 4 }}
    {{- with .own.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- if and $head $values.ray.autoscaler.enabled }}
  {{- if or $values.serviceAccount.create $values.serviceAccount.name }}
  # KubeRay lets this identity ask for pods. Control and knowledge may run here, and have the same at the cloud as workers.
  serviceAccountName: {{ include "loraplex.serviceAccountName" .root }}
  {{- end }}
  # The autoscaler beside the head presents it to the Kubernetes API.
  automountServiceAccountToken: true
  enableServiceLinks: false
  {{- include "loraplex.pullSecrets" .root | nindent 2 }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  {{- else }}
  {{- include "loraplex.podIdentity" .root | nindent 2 }}
  {{- end }}
  {{- include "loraplex.scheduling" . | nindent 2 }}
  {{- if $values.ray.autoscaler.enabled }}
  restartPolicy: Never
  {{- end }}
  # A worker leaves its cluster first, which may take twice as long as its streams and ten seconds more.
  terminationGracePeriodSeconds: {{ ternary 60 (add (mul 2 $values.gateway.drainSeconds) 10 60) $head }}
  containers:
    - name: {{ .component }}
      {{- include "loraplex.containerBase" .root | nindent 6 }}
      env:
        {{- $own := mergeOverwrite (include "loraplex.rayEnv" .root | fromYaml) $values.gateway.env }}
        {{- include "loraplex.env" (dict "root" .root "own" $own) | nindent 8 }}
      ports:
        {{- if $head }}
        - name: gcs
          containerPort: 6379
        - name: dashboard
          containerPort: 8265
        - name: client
          containerPort: 10001
        {{- end }}
        - name: agent
          containerPort: 52365
        - name: serve
          containerPort: {{ include "loraplex.port" .root }}
      startupProbe:
        httpGet:
          path: /api/local_raylet_healthz
          port: agent
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 60
      readinessProbe:
        httpGet:
          {{- if $head }}
          path: /api/gcs_healthz
          port: dashboard
          {{- else }}
          # Only a node whose proxy reaches a gateway takes traffic.
          path: /readyz
          port: serve
          {{- end }}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ ternary 10 2 $head }}
      livenessProbe:
        httpGet:
          path: /api/local_raylet_healthz
          port: agent
        periodSeconds: 10
        timeoutSeconds: 10
        failureThreshold: 12
      {{- if not $head }}
      lifecycle:
        preStop:
          exec:
            # Serve starts this node's gateways elsewhere and sends them nothing more; their streams end before Ray does.
            command: [python, -m, serving.process.ray_leave, {{ $values.gateway.drainSeconds | quote }}]
      {{- end }}
      resources:
        {{- include "loraplex.resources" . | nindent 8 }}
      volumeMounts:
        {{- include "loraplex.mounts" (dict "root" .root "shm" true) | nindent 8 }}
  volumes:
    {{- include "loraplex.volumes" (dict "root" .root "shm" true) | nindent 4 }}
    - {{ include "loraplex.cacheVolume" .root | nindent 6 | trim }}
{{- end -}}
