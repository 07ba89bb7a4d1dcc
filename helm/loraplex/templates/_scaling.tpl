{{/* What autoscalers, scrapes and rules must agree on. */}}

{{/* The label `job`. A dot cannot be in a namespace's name, so no two releases have the same. */}}
{{- define "loraplex.job" -}}
{{- if .Values.monitoring.job -}}
{{- .Values.monitoring.job -}}
{{- else -}}
{{- $job := printf "%s.%s" .Release.Namespace (include "loraplex.fullname" .) -}}
{{- if gt (len $job) 63 -}}
{{- printf "%s-%s" ($job | trunc 54 | trimAll "-.") (sha256sum $job | trunc 8) -}}
{{- else -}}
{{- $job -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The measures that count, as JSON: name, metric, query of this release, matchers' query, target per gateway. */}}
{{- define "loraplex.measures" -}}
{{- $known := .Files.Get "files/scaling.json" | fromJson -}}
{{- $scaling := .Values.autoscaling -}}
{{- $targets := dict "inFlight" $scaling.inFlight.perReplica "queue" $scaling.queue.perReplica "ttft" $scaling.ttft.targetSeconds -}}
{{- $found := list -}}
{{- range list "inFlight" "queue" "ttft" -}}
{{- if (get $scaling .).enabled -}}
{{- $measure := get $known . -}}
{{- $query := $measure.query | replace "@JOB@" (include "loraplex.job" $) -}}
{{- $found = append $found (dict "name" . "metric" $measure.metric "query" $query "target" (toString (get $targets .))) -}}
{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{- define "loraplex.scalingBehavior" -}}
{{- $scaling := .Values.autoscaling -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - type: Percent
      value: {{ $scaling.scaleUp.percent }}
      periodSeconds: {{ $scaling.scaleUp.periodSeconds }}
    - type: Pods
      value: 1
      periodSeconds: {{ $scaling.scaleUp.periodSeconds }}
scaleDown:
  stabilizationWindowSeconds: {{ $scaling.scaleDown.stabilizationSeconds }}
  policies:
    - type: Pods
      value: 1
      periodSeconds: {{ $scaling.scaleDown.periodSeconds }}
{{- end -}}

{{/* Combinations that the schema cannot refuse. */}}
{{- define "loraplex.checks.scaling" -}}
{{- $scaling := .Values.autoscaling -}}
{{- if ne $scaling.type "none" -}}
{{- if eq .Values.topology "standalone" -}}
{{- fail "autoscaling.type: the topology `standalone` is one pod with its own state; set none, or topology: deployment." -}}
{{- end -}}
{{- if eq .Values.topology "rayservice" -}}
{{- fail "autoscaling.type: scales the Deployment of the topology `deployment`; a RayService scales by ray.serveAutoscaling." -}}
{{- end -}}
{{- if ne (int .Values.gateway.replicas) 1 -}}
{{- fail (printf "gateway.replicas: is %d, and autoscaling.type `%s` decides the number; remove one of the two (autoscaling.minReplicas is the least)." (int .Values.gateway.replicas) $scaling.type) -}}
{{- end -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas: is more than autoscaling.maxReplicas." -}}
{{- end -}}
{{- if not (or $scaling.inFlight.enabled $scaling.queue.enabled) -}}
{{- fail "autoscaling.inFlight.enabled: neither it nor autoscaling.queue.enabled is true; TTFT alone does not tell when there are too many gateways." -}}
{{- end -}}
{{- if not (dig "metrics" "enabled" true .Values.config) -}}
{{- fail "autoscaling.type: scales by metrics, and config.metrics.enabled is false." -}}
{{- end -}}
{{- $monitoring := .Values.monitoring -}}
{{- if not (or $monitoring.job $monitoring.podMonitor.enabled $monitoring.serviceMonitor.enabled) -}}
{{- fail (printf "autoscaling.type: asks Prometheus for the job `%s`, which nothing scrapes; enable monitoring.podMonitor, or name the job of your own scrapes in monitoring.job." (include "loraplex.job" .)) -}}
{{- end -}}
{{- if and $scaling.keda.authModes (not $scaling.keda.authenticationRef) -}}
{{- fail "autoscaling.keda.authenticationRef: is empty, and authModes needs a TriggerAuthentication with the credentials." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.checks.monitoring" -}}
{{- $monitoring := .Values.monitoring -}}
{{- if and $monitoring.podMonitor.enabled $monitoring.serviceMonitor.enabled -}}
{{- fail "monitoring.podMonitor.enabled: monitoring.serviceMonitor.enabled is true as well, and everything would be counted twice; keep one of the two." -}}
{{- end -}}
{{- if and $monitoring.podMonitor.enabled (eq .Values.topology "rayservice") -}}
{{- fail "monitoring.podMonitor.enabled: Ray's pods are not the gateway's replicas; a RayService is scraped as one, by monitoring.serviceMonitor.enabled." -}}
{{- end -}}
{{- if or $monitoring.podMonitor.enabled $monitoring.serviceMonitor.enabled -}}
{{- if not (or .Values.secrets.metricsToken.name (eq (dig "server" "authentication" "auto" .Values.config) "off")) -}}
{{- fail "secrets.metricsToken.name: is empty, and /metrics answers nobody without a token; name a Secret that holds one." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A way in that the network policies would close. */}}
{{- define "loraplex.checks.closed" -}}
{{- $clients := .Values.networkPolicy.clients -}}
{{- $elsewhere := false -}}
{{- range .Values.httpRoute.parentRefs -}}
{{- if and (hasKey . "namespace") (ne .namespace $.Release.Namespace) -}}{{- $elsewhere = true -}}{{- end -}}
{{- end -}}
{{- if .Values.networkPolicy.enabled -}}
{{- if not (or $clients.namespaces $clients.cidrs) -}}
{{- if .Values.ingress.enabled -}}
{{- fail "networkPolicy.clients.namespaces: is empty, and the Ingress controller would reach no gateway; name its namespace, such as ingress-nginx (or its addresses in networkPolicy.clients.cidrs)." -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled $elsewhere -}}
{{- fail "networkPolicy.clients.namespaces: is empty, and the Gateway of httpRoute would reach nothing; name the namespace that its pods run in." -}}
{{- end -}}
{{- end -}}
{{- if and (ne .Values.service.type "ClusterIP") (not $clients.cidrs) -}}
{{- fail (printf "networkPolicy.clients.cidrs: is empty, and nobody would get in by service.type `%s`; give the address ranges of the callers, of the load balancer or of the nodes." .Values.service.type) -}}
{{- end -}}
{{- $scraped := or .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled -}}
{{- if and $scraped (not .Values.networkPolicy.monitoringNamespaces) -}}
{{- fail "networkPolicy.monitoringNamespaces: is empty, and Prometheus would reach no metrics; name the namespace that it runs in." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.checks.exposure" -}}
{{- if eq .Values.topology "rayservice" -}}
{{- if or (ne .Values.service.type "ClusterIP") .Values.service.annotations (ne (int .Values.service.port) 80) -}}
{{- fail (printf "service: KubeRay makes the Service of the topology `rayservice`, %s at port %s; remove what `service` says, and use ingress, httpRoute, or a Service of your own for other callers." (include "loraplex.serviceName" .) (include "loraplex.servicePort" .)) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "loraplex.fullname" .)) -}}
{{- fail (printf "fullnameOverride: names of Services begin with a letter, and `%s` does not; set one that does." (include "loraplex.fullname" .)) -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: is empty; give the host names, such as llm.example.org." -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: is empty; name the Gateway that the route attaches to." -}}
{{- end -}}
{{- include "loraplex.checks.closed" . -}}
{{- end -}}

{{/* How a scraper shows who it is. */}}
{{- define "loraplex.scrapeToken" -}}
{{- with .Values.secrets.metricsToken -}}
{{- if .name -}}
authorization:
  credentials:
    name: {{ .name }}
    key: {{ .key }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Groups of rules for the objectives of one task: (dict "root" $ "task" NAME "slo" its section). The arithmetic is
     decimal: 1 - 0.999 is 0.001. */}}
{{- define "loraplex.sloGroups" -}}
{{- $made := .root.Files.Get "files/rules/slo.json" | fromJson -}}
{{- $task := .task -}}
{{- $slo := .slo -}}
{{- $targets := dict "availability" (ternary (get $slo "availability") $made.defaults.availability (hasKey $slo "availability")) -}}
{{- range list "ttft" "duration" -}}
{{- if kindIs "map" (get $slo .) -}}
{{- $_ := set $targets . (dig "target" $made.defaults.target (get $slo .)) -}}
{{- end -}}
{{- end -}}
{{- $least := ternary (get $slo "min_requests") $made.defaults.minRequests (hasKey $slo "min_requests") -}}
{{- $groups := list -}}
{{- range $name := list "availability" "ttft" "duration" -}}
{{- if get $targets $name -}}
{{- $budget := subf 1 (get $targets $name) -}}
{{- $rules := list $made.budget -}}
{{- range $made.burns -}}
{{- $bound := mulf .factor $budget -}}
{{- if lt $bound 1.0 -}}
{{- $alert := ternary .alert .alertWithoutMinimum (gt (int $least) 0) -}}
{{- $rules = append $rules ($alert | toJson | replace "@BOUND@" (printf "%.12g" $bound) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- $text := dict "name" (printf "loraplex-slo-%s-%s" $task $name) "rules" $rules | toJson -}}
{{- $text = $text | replace "@TASK@" $task | replace "@SLO@" $name | replace "@BUDGET@" (printf "%.12g" $budget) -}}
{{- $text = $text | replace "@PERCENT@" (printf "%.6g %%" (mulf 100 $budget)) | replace "@MIN_REQUESTS@" (printf "%d" (int $least)) -}}
{{- $groups = append $groups ($text | fromJson) -}}
{{- end -}}
{{- end -}}
{{- $groups | toJson -}}
{{- end -}}

{{/* A rule text of this release. */}}
{{- define "loraplex.ruleText" -}}
{{- $runbooks := trimSuffix "/" .root.Values.monitoring.prometheusRule.runbooks -}}
{{- .text | replace "@JOB@" (include "loraplex.job" .root) | replace "@RUNBOOKS@" $runbooks -}}
{{- end -}}
