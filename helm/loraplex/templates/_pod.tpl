{{/* Pieces that the gateway's pods share. */}}

{{/* Metadata of a pod: (dict "root" $ "component" NAME "own" its values). */}}
{{- define "loraplex.podMetadata" -}}
annotations:
  checksum/config: {{ include "loraplex.configData" .root | sha256sum }}
  {{- with .own.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "loraplex.podLabels" . | nindent 2 }}
  {{- with .own.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Where a pod may run: (dict "root" $ "component" NAME "own" its values). */}}
{{- define "loraplex.scheduling" -}}
{{- with .own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .own.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- $scope := . }}
{{- with .own.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels:
        {{- include "loraplex.selectorLabels" $scope | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Identity and rights of a pod: nothing in it talks to the Kubernetes API. */}}
{{- define "loraplex.podIdentity" -}}
serviceAccountName: {{ include "loraplex.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "loraplex.pullSecrets" . }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{/* Image and rights of a container. */}}
{{- define "loraplex.containerBase" -}}
image: {{ include "loraplex.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
workingDir: /var/lib/loraplex
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
{{- end -}}

{{/* Requests and limits with GPUs: (dict "root" $ "resources" … "gpus" N). */}}
{{- define "loraplex.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if gt (int .gpus) 0 -}}
{{- $gpu := dict .root.Values.gateway.gpuResource (int .gpus) -}}
{{- $resources = mergeOverwrite $resources (dict "limits" $gpu "requests" $gpu) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* Probes of a process that listens on server.port: (dict "root" $ "startupSeconds" N). Until it is ready for the first
     time the start-up probe alone counts; after that readiness and liveness. */}}
{{- define "loraplex.probes" -}}
startupProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ max 1 (ceil (divf .startupSeconds 5)) }}
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
{{- end -}}

{{/* Mounts of every container of the gateway: (dict "root" $ "shm" true or not). */}}
{{- define "loraplex.mounts" -}}
- name: config
  mountPath: /etc/loraplex
  readOnly: true
- name: data
  mountPath: /var/lib/loraplex
- name: tmp
  mountPath: /tmp
{{- if .shm }}
- name: shm
  mountPath: /dev/shm
{{- end }}
{{- if .root.Values.storage.hub.enabled }}
- name: hub
  mountPath: /var/lib/loraplex/hf
{{- end }}
{{- if .root.Values.storage.models.existingClaim }}
- name: models
  mountPath: /models
  readOnly: true
{{- end }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Volumes behind them, but for `data`: (dict "root" $ "shm" true or not). */}}
{{- define "loraplex.volumes" -}}
{{- $values := .root.Values -}}
- {{ include "loraplex.configVolume" (dict "root" .root "name" (printf "%s-config" (include "loraplex.fullname" .root))) | nindent 2 | trim }}
- name: tmp
  emptyDir: {}
{{- if .shm }}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ $values.gateway.shmSize }}
{{- end }}
{{- if $values.storage.hub.enabled }}
- name: hub
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-hub" (include "loraplex.fullname" .root)) $values.storage.hub.existingClaim }}
{{- end }}
{{- with $values.storage.models.existingClaim }}
- name: models
  persistentVolumeClaim:
    claimName: {{ . }}
    readOnly: true
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The volume `data` of one pod that has a claim, or an emptyDir: (dict "root" $ "name" … "storage" … "claim" bool). */}}
{{- define "loraplex.dataVolume" -}}
name: data
{{- if .claim }}
persistentVolumeClaim:
  claimName: {{ default (printf "%s-%s" (include "loraplex.fullname" .root) .name) .storage.existingClaim }}
{{- else }}
emptyDir:
  sizeLimit: {{ .storage.size }}
{{- end }}
{{- end -}}

{{/* A gateway's own disk. */}}
{{- define "loraplex.cacheVolume" -}}
{{- $cache := .Values.storage.cache -}}
name: data
{{- if eq $cache.type "ephemeral" }}
ephemeral:
  volumeClaimTemplate:
    spec:
      {{- include "loraplex.claimSpec" (dict "storage" $cache "mode" "ReadWriteOnce") | nindent 6 }}
{{- else }}
emptyDir:
  sizeLimit: {{ $cache.size }}
{{- end }}
{{- end -}}

{{/* Spec of a claim: (dict "storage" {size, storageClass} "mode" ACCESS). */}}
{{- define "loraplex.claimSpec" -}}
accessModes: [{{ .mode }}]
{{- with .storage.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .storage.size }}
{{- end -}}

{{/* What the migrations need before they run: annotations. A bundled database is not there at the first install. */}}
{{- define "loraplex.hookFiles" -}}
helm.sh/hook: {{ ternary "pre-upgrade" "pre-install,pre-upgrade" .Values.postgresql.bundled.enabled }}
helm.sh/hook-weight: "-10"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* With the bundled PostgreSQL, which starts together with the pods, each pod waits for it. */}}
{{- define "loraplex.waitForState" -}}
{{- if and .Values.postgresql.bundled.enabled (ne .Values.topology "standalone") }}
initContainers:
  - name: migrate
    {{- include "loraplex.containerBase" . | nindent 4 }}
    args: [migrate, --wait, {{ .Values.migrations.waitSeconds | quote }}]
    env:
      {{- include "loraplex.env" (dict "root" .) | nindent 6 }}
    resources:
      {{- toYaml .Values.migrations.resources | nindent 6 }}
    volumeMounts:
      - name: config
        mountPath: /etc/loraplex
        readOnly: true
      - name: data
        mountPath: /var/lib/loraplex
      - name: tmp
        mountPath: /tmp
{{- end }}
{{- end -}}
