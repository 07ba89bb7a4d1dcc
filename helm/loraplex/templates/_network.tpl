{{/* Pieces of the network policies. Each gives a list as JSON, so that lists can be joined. */}}

{{/* Pods of the release, by part: (dict "root" $ "parts" a list). */}}
{{- define "loraplex.net.pods" -}}
{{- $labels := include "loraplex.selectorLabels" (dict "root" .root "component" "any") | fromYaml -}}
{{- $part := dict "key" "app.kubernetes.io/component" "operator" "In" "values" .parts -}}
{{- $selector := dict "matchLabels" (omit $labels "app.kubernetes.io/component") "matchExpressions" (list $part) -}}
{{- list (dict "podSelector" $selector) | toJson -}}
{{- end -}}

{{/* Everything in some namespaces, and address ranges: (dict "namespaces" a list "cidrs" a list). */}}
{{- define "loraplex.net.outside" -}}
{{- $peers := list -}}
{{- if .namespaces -}}
{{- $name := dict "key" "kubernetes.io/metadata.name" "operator" "In" "values" .namespaces -}}
{{- $peers = append $peers (dict "namespaceSelector" (dict "matchExpressions" (list $name))) -}}
{{- end -}}
{{- range .cidrs -}}
{{- $peers = append $peers (dict "ipBlock" (dict "cidr" .)) -}}
{{- end -}}
{{- $peers | toJson -}}
{{- end -}}

{{/* TCP ports: a list of numbers. */}}
{{- define "loraplex.net.ports" -}}
{{- $ports := list -}}
{{- range . -}}{{- $ports = append $ports (dict "protocol" "TCP" "port" (int .)) -}}{{- end -}}
{{- $ports | toJson -}}
{{- end -}}

{{/* A list of one rule, or of none where there are no peers: (dict "side" "from" or "to" "peers" JSON "ports" JSON). */}}
{{- define "loraplex.net.rule" -}}
{{- $peers := .peers | fromJsonArray -}}
{{- if $peers -}}
{{- $rule := dict .side $peers -}}
{{- with .ports -}}{{- $rule = set $rule "ports" (. | fromJsonArray) -}}{{- end -}}
{{- list $rule | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* The port of an address: (dict "url" … "default" N). */}}
{{- define "loraplex.net.portOf" -}}
{{- $found := regexFind ":[0-9]+([/?]|$)" .url -}}
{{- if $found -}}
{{- regexFind "[0-9]+" $found -}}
{{- else if hasPrefix "https://" .url -}}443
{{- else if hasPrefix "http://" .url -}}80
{{- else -}}{{- .default -}}
{{- end -}}
{{- end -}}

{{/* The namespaces of addresses in the cluster, `NAME.NAMESPACE.svc`, that stand in a text. */}}
{{- define "loraplex.net.namespacesIn" -}}
{{- $found := list -}}
{{- range regexFindAll "[a-z0-9-]+\\.[a-z0-9-]+\\.svc\\b" . -1 -}}
{{- $found = append $found (index (splitList "." .) 1) -}}
{{- end -}}
{{- $found | uniq | toJson -}}
{{- end -}}

{{/* A way out of the release: (dict "root" $ "name" one of networkPolicy.destinations "ports" a list of numbers "text"
     what names the address). */}}
{{- define "loraplex.net.way" -}}
{{- $to := get .root.Values.networkPolicy.destinations .name -}}
{{- $namespaces := concat $to.namespaces (include "loraplex.net.namespacesIn" (default "" .text) | fromJsonArray) | uniq -}}
{{- $peers := include "loraplex.net.outside" (dict "namespaces" $namespaces "cidrs" $to.cidrs) -}}
{{- include "loraplex.net.rule" (dict "side" "to" "peers" $peers "ports" (include "loraplex.net.ports" .ports)) -}}
{{- end -}}

{{- define "loraplex.net.dns" -}}
{{- $dns := .Values.networkPolicy.dns -}}
{{- $peers := include "loraplex.net.outside" (dict "namespaces" $dns.namespaces "cidrs" $dns.cidrs) -}}
{{- $ports := list (dict "protocol" "UDP" "port" 53) (dict "protocol" "TCP" "port" 53) -}}
{{- include "loraplex.net.rule" (dict "side" "to" "peers" $peers "ports" ($ports | toJson)) -}}
{{- end -}}

{{/* The state database, for whichever part reads it. */}}
{{- define "loraplex.net.state" -}}
{{- $url := default .Values.postgresql.url (dig "state" "url" "" .Values.config) -}}
{{- if eq .Values.topology "standalone" -}}
{{- ternary (include "loraplex.net.way" (dict "root" . "name" "postgresql" "ports" (list (include "loraplex.net.portOf" (dict "url" $url "default" 5432))) "text" $url)) "[]" (hasPrefix "postgresql" (dig "state" "url" "" .Values.config)) -}}
{{- else if .Values.postgresql.bundled.enabled -}}
{{- include "loraplex.net.rule" (dict "side" "to" "peers" (include "loraplex.net.pods" (dict "root" . "parts" (list "postgresql"))) "ports" (include "loraplex.net.ports" (list 5432))) -}}
{{- else -}}
{{- include "loraplex.net.way" (dict "root" . "name" "postgresql" "ports" (list (include "loraplex.net.portOf" (dict "url" $url "default" 5432))) "text" $url) -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.net.artifacts" -}}
{{- $url := default .Values.objectStore.url (dig "artifacts" "url" "" .Values.config) -}}
{{- if contains "://" $url -}}
{{- include "loraplex.net.way" (dict "root" . "name" "objectStore" "ports" (list (include "loraplex.net.portOf" (dict "url" .Values.objectStore.endpoint "default" 443))) "text" .Values.objectStore.endpoint) -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "loraplex.net.index" -}}
{{- $milvus := .Values.milvus -}}
{{- $uri := "" -}}
{{- if kindIs "map" .Values.config.knowledge -}}
{{- $uri = dig "index" "uri" $milvus.uri .Values.config.knowledge -}}
{{- if eq $milvus.mode "standalone" -}}
{{- include "loraplex.net.rule" (dict "side" "to" "peers" (include "loraplex.net.pods" (dict "root" . "parts" (list "milvus"))) "ports" (include "loraplex.net.ports" (list 19530))) -}}
{{- else if eq $milvus.mode "cluster" -}}
{{- include "loraplex.net.way" (dict "root" . "name" "milvus" "ports" (list $milvus.cluster.port) "text" (include "loraplex.milvusUri" .)) -}}
{{- else if contains "://" $uri -}}
{{- include "loraplex.net.way" (dict "root" . "name" "milvus" "ports" (list (include "loraplex.net.portOf" (dict "url" $uri "default" 19530))) "text" $uri) -}}
{{- else -}}
[]
{{- end -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "loraplex.net.hub" -}}
{{- if .Values.airGapped -}}
[]
{{- else -}}
{{- include "loraplex.net.way" (dict "root" . "name" "hub" "ports" (list 443)) -}}
{{- end -}}
{{- end -}}

{{/* Servers that the configuration names: the ports of every http address in engine, knowledge and life. */}}
{{- define "loraplex.net.remotes" -}}
{{- $named := deepCopy (pick .Values.config "engine" "knowledge" "life") -}}
{{- if kindIs "map" $named.knowledge -}}{{- $_ := set $named "knowledge" (omit $named.knowledge "index") -}}{{- end -}}
{{- $ports := list -}}
{{- range regexFindAll "https?://[^\\s\"\\\\<>]+" ($named | toJson) -1 -}}
{{- $ports = append $ports (include "loraplex.net.portOf" (dict "url" . "default" 443) | int) -}}
{{- end -}}
{{- if $ports -}}
{{- include "loraplex.net.way" (dict "root" . "name" "remotes" "ports" ($ports | uniq | sortAlpha) "text" ($named | toJson)) -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "loraplex.net.tracing" -}}
{{- if dig "tracing" "enabled" false .Values.config -}}
{{- $endpoint := dig "tracing" "endpoint" "http://localhost:4318/v1/traces" .Values.config -}}
{{- include "loraplex.net.way" (dict "root" . "name" "tracing" "ports" (list (include "loraplex.net.portOf" (dict "url" $endpoint "default" 4318))) "text" $endpoint) -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* Who may call the gateway's port. */}}
{{- define "loraplex.net.clients" -}}
{{- $clients := .Values.networkPolicy.clients -}}
{{- $peers := include "loraplex.net.outside" (dict "namespaces" $clients.namespaces "cidrs" $clients.cidrs) | fromJsonArray -}}
{{- if $clients.sameNamespace -}}{{- $peers = append $peers (dict "podSelector" dict) -}}{{- end -}}
{{- $own := include "loraplex.net.pods" (dict "root" . "parts" (list "adapter-sync" "test" "control")) | fromJsonArray -}}
{{- $monitoring := include "loraplex.net.outside" (dict "namespaces" .Values.networkPolicy.monitoringNamespaces "cidrs" list) | fromJsonArray -}}
{{- $ports := include "loraplex.net.ports" (list (include "loraplex.port" .)) -}}
{{- include "loraplex.net.rule" (dict "side" "from" "peers" (concat $peers $own $monitoring | toJson) "ports" $ports) -}}
{{- end -}}

{{/* What every process of the gateway reaches outside of the release. */}}
{{- define "loraplex.net.common" -}}
{{- $rules := list -}}
{{- range list "dns" "state" "artifacts" "hub" "remotes" "tracing" -}}
{{- $rules = concat $rules (include (printf "loraplex.net.%s" .) $ | fromJsonArray) -}}
{{- end -}}
{{- $rules | toJson -}}
{{- end -}}

{{/* A policy: (dict "root" $ "part" NAME "ingress" a list of rules "egress" a list of rules "hook" whether it comes and
     goes with the migrations). */}}
{{- define "loraplex.networkPolicy" -}}
{{- $extra := .root.Values.networkPolicy -}}
{{- $ingress := concat .ingress (default list (get $extra.extraIngress .part)) -}}
{{- $egress := concat .egress (default list (get $extra.extraEgress .part)) -}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "loraplex.componentName" (dict "root" .root "component" .part) }}
  labels:
    {{- include "loraplex.labels" (dict "root" .root "component" .part) | nindent 4 }}
  {{- if .hook }}
  annotations:
    {{- include "loraplex.hookFiles" .root | nindent 4 }}
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "loraplex.selectorLabels" (dict "root" .root "component" .part) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- toYaml $ingress | nindent 4 }}
  egress:
    {{- toYaml $egress | nindent 4 }}
{{ end -}}
