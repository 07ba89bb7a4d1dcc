{{/* One pod that runs one part: (dict "root" $ "component" control or knowledge "own" its values "storage" … "claim"
     bool). There is one at a time: it alone writes. */}}
{{- define "loraplex.part" -}}
{{- $gpus := gt (int .own.gpus) 0 }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "loraplex.componentName" . }}
  labels:
    {{- include "loraplex.labels" . | nindent 4 }}
spec:
  replicas: 1
  progressDeadlineSeconds: {{ add .own.startupSeconds 600 }}
  strategy:
    type: Recreate
  selector:
    matchLabels:
      {{- include "loraplex.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      {{- include "loraplex.podMetadata" . | nindent 6 }}
    spec:
      {{- include "loraplex.podIdentity" .root | nindent 6 }}
      {{- include "loraplex.scheduling" . | nindent 6 }}
      terminationGracePeriodSeconds: {{ .own.graceSeconds }}
      {{- include "loraplex.waitForState" .root | nindent 6 }}
      containers:
        - name: {{ .component }}
          {{- include "loraplex.containerBase" .root | nindent 10 }}
          args: [serve, --only, {{ .component }}]
          env:
            {{- include "loraplex.env" (dict "root" .root "own" .own.env) | nindent 12 }}
          ports:
            - name: http
              containerPort: {{ include "loraplex.port" .root }}
          {{- include "loraplex.probes" (dict "root" .root "startupSeconds" .own.startupSeconds) | nindent 10 }}
          resources:
            {{- include "loraplex.resources" (dict "root" .root "resources" .own.resources "gpus" .own.gpus) | nindent 12 }}
          volumeMounts:
            {{- include "loraplex.mounts" (dict "root" .root "shm" $gpus) | nindent 12 }}
      volumes:
        {{- include "loraplex.volumes" (dict "root" .root "shm" $gpus) | nindent 8 }}
        - {{ include "loraplex.dataVolume" (dict "root" .root "name" .component "storage" .storage "claim" .claim) | nindent 10 | trim }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "loraplex.componentName" . }}
  labels:
    {{- include "loraplex.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  ports:
    - name: http
      port: {{ include "loraplex.port" .root }}
      targetPort: http
  selector:
    {{- include "loraplex.selectorLabels" . | nindent 4 }}
{{- end -}}
