{{/* Combinations that the schema cannot refuse: one sentence each, which says what to do. Included by every pod. */}}

{{- define "loraplex.checks" -}}
{{- include "loraplex.checks.config" . -}}
{{- include "loraplex.checks.topology" . -}}
{{- include "loraplex.checks.workers" . -}}
{{- include "loraplex.checks.training" . -}}
{{- include "loraplex.checks.milvus" . -}}
{{- include "loraplex.checks.hub" . -}}
{{- end -}}

{{- define "loraplex.checks.config" -}}
{{- $config := .Values.config -}}
{{- range $place, $instead := dict
  "server.host" "remove it: pods listen on every address"
  "server.drain_timeout_s" "set gateway.drainSeconds, from which the pods' grace period is taken too"
  "replicas" "set gateway.replicas"
  "gpus_per_replica" "set gateway.gpus"
  "services" "remove it: the chart knows the addresses"
  "metrics.token_env" "set secrets.metricsToken"
  "knowledge.index.token_env" "set milvus.existingSecret" -}}
{{- $found := $config -}}
{{- range splitList "." $place -}}
{{- if and (kindIs "map" $found) (hasKey $found .) -}}{{- $found = get $found . -}}{{- else -}}{{- $found = "" -}}{{- end -}}
{{- end -}}
{{- if not (or (kindIs "invalid" $found) (eq (toString $found) "")) -}}
{{- fail (printf "config.%s: is the chart's own business; %s." $place $instead) -}}
{{- end -}}
{{- end -}}
{{- range $name, $task := default dict $config.tasks -}}
{{- if kindIs "map" (dig "output" "json_schema" "" (default dict $task)) -}}
{{- fail (printf "config.tasks.%s.output.json_schema: Helm would sort its properties, and the engine writes them in their order; put it into configFiles, such as schemas/%s.json, and write the path here: /etc/loraplex/schemas/%s.json." $name $name $name) -}}
{{- end -}}
{{- end -}}
{{- $authentication := dig "server" "authentication" "auto" $config -}}
{{- if and (not $config.api_keys) (ne $authentication "off") -}}
{{- fail "config.api_keys: is empty, so nobody could call the gateway; make a key with `loraplex keys new NAME --admin` and put the printed entry there." -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.checks.topology" -}}
{{- $config := .Values.config -}}
{{- if eq .Values.topology "standalone" -}}
{{- if gt (int .Values.gateway.replicas) 1 -}}
{{- fail "gateway.replicas: the topology `standalone` is one pod with its own state; set 1, or topology: deployment." -}}
{{- end -}}
{{- else -}}
{{- $state := dig "state" "url" "" $config -}}
{{- if and $state (or .Values.postgresql.url .Values.postgresql.bundled.enabled) -}}
{{- fail "config.state.url: postgresql says where the state lives as well; keep one of the two." -}}
{{- end -}}
{{- if and .Values.postgresql.url .Values.postgresql.bundled.enabled -}}
{{- fail "postgresql.url: postgresql.bundled.enabled is true as well; keep one of the two." -}}
{{- end -}}
{{- if not (or $state .Values.postgresql.url .Values.postgresql.bundled.enabled) -}}
{{- fail (printf "postgresql.url: is empty, and the topology `%s` shares its state among pods; give the address of a PostgreSQL, or set postgresql.bundled.enabled for a trial." .Values.topology) -}}
{{- end -}}
{{- if hasPrefix "sqlite" $state -}}
{{- fail (printf "config.state.url: SQLite is for one pod; give the topology `%s` a PostgreSQL by postgresql.url." .Values.topology) -}}
{{- end -}}
{{- $artifacts := dig "artifacts" "url" "" $config -}}
{{- if and $artifacts .Values.objectStore.url -}}
{{- fail "config.artifacts.url: objectStore.url says where artifacts are stored as well; keep one of the two." -}}
{{- end -}}
{{- if not (or $artifacts .Values.objectStore.url) -}}
{{- fail (printf "objectStore.url: is empty, and the topology `%s` shares its artifacts among pods; give one such as s3://bucket/loraplex." .Values.topology) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.topology "rayservice") .Values.ray.serveAutoscaling.enabled (gt (int .Values.ray.serveAutoscaling.minReplicas) (int .Values.ray.serveAutoscaling.maxReplicas)) -}}
{{- fail "ray.serveAutoscaling: minReplicas is more than maxReplicas." -}}
{{- end -}}
{{- if regexMatch "://[^/@]*:[^/@]*@" (printf "%s %s" .Values.postgresql.url (dig "state" "url" "" $config)) -}}
{{- fail "postgresql.url: holds a password, which everybody who may read ConfigMaps would see; take it out and name a Secret in postgresql.existingSecret." -}}
{{- end -}}
{{- if and (eq .Values.image.variant "cpu") (gt (int .Values.gateway.gpus) 0) -}}
{{- fail "image.variant: `cpu` does not use GPUs; set gateway.gpus: 0, or image.variant: gpu." -}}
{{- end -}}
{{- if and (eq .Values.topology "deployment") (regexMatch "^0+%? 0+%?$" (printf "%v %v" .Values.gateway.strategy.maxSurge .Values.gateway.strategy.maxUnavailable)) -}}
{{- fail "gateway.strategy: maxSurge and maxUnavailable are both 0, and no gateway could ever be replaced; set one of them to 1." -}}
{{- end -}}
{{- range $place, $tag := dict "image" .Values.image.tag "postgresql.bundled.image" .Values.postgresql.bundled.image.tag "milvus.standalone.image" .Values.milvus.standalone.image.tag -}}
{{- if eq $tag "latest" -}}
{{- fail (printf "%s.tag: `latest` names another image every day; name a version." $place) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.airGapped (not .Values.imageRegistry) -}}
{{- fail "airGapped: images would still come from public registries; name your own in imageRegistry." -}}
{{- end -}}
{{- end -}}

{{/* Gateways that no worker has room for would wait for ever. */}}
{{- define "loraplex.checks.workers" -}}
{{- if and (eq .Values.topology "rayservice") (gt (int .Values.gateway.gpus) 0) -}}
{{- $ray := .Values.ray -}}
{{- $place := ternary "ray.serveAutoscaling.maxReplicas" "gateway.replicas" $ray.serveAutoscaling.enabled -}}
{{- $gateways := ternary $ray.serveAutoscaling.maxReplicas .Values.gateway.replicas $ray.serveAutoscaling.enabled | int -}}
{{- $there := 0 -}}
{{- range $ray.workers -}}
{{- $nodes := ternary .maxReplicas .replicas $ray.autoscaler.enabled | int -}}
{{- $each := hasKey . "gpus" | ternary .gpus $.Values.gateway.gpus | int -}}
{{- $there = add $there (mul $nodes (div $each (int $.Values.gateway.gpus))) -}}
{{- end -}}
{{- if lt (int $there) $gateways -}}
{{- fail (printf "%s: %d gateways of gateway.gpus: %d do not fit on ray.workers, which have room for %d; add nodes there, or gateways less." $place $gateways (int .Values.gateway.gpus) (int $there)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.checks.training" -}}
{{- if kindIs "map" .Values.config.training -}}
{{- if and (eq .Values.topology "deployment") (not .Values.storage.control.enabled) -}}
{{- fail "storage.control.enabled: the checkpoints of training jobs would be lost with the control pod; set it to true." -}}
{{- end -}}
{{- if and (eq .Values.topology "rayservice") (not .Values.config.training.folder) -}}
{{- fail "config.training.folder: jobs run on any node; name a folder on a volume that all pods share, and mount it by extraVolumes and extraVolumeMounts." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.checks.milvus" -}}
{{- $milvus := .Values.milvus -}}
{{- $uri := "" -}}
{{- if kindIs "map" .Values.config.knowledge -}}
{{- $uri = dig "index" "uri" "" .Values.config.knowledge -}}
{{- else if ne $milvus.mode "embedded" -}}
{{- fail (printf "milvus.mode: is `%s`, but the configuration has no knowledge; add a section `knowledge: {}` to config." $milvus.mode) -}}
{{- end -}}
{{- if and (ne $milvus.mode "embedded") $uri -}}
{{- fail "config.knowledge.index.uri: milvus says where the index lives as well; keep one of the two." -}}
{{- end -}}
{{- if and (eq $milvus.mode "external") (not $milvus.uri) -}}
{{- fail "milvus.uri: is empty; milvus.mode `external` needs the address of a Milvus, such as http://milvus.example.internal:19530." -}}
{{- end -}}
{{- if and (ne $milvus.mode "external") $milvus.uri -}}
{{- fail (printf "milvus.uri: goes with milvus.mode `external`, and the mode is `%s`." $milvus.mode) -}}
{{- end -}}
{{- if and (eq $milvus.mode "cluster") (not $milvus.cluster.service) -}}
{{- fail "milvus.cluster.service: is empty; name the Service of the Milvus that its own chart or operator runs." -}}
{{- end -}}
{{- if and (include "loraplex.hasKnowledge" .) (eq $milvus.mode "embedded") (not (contains "://" $uri)) -}}
{{- if eq .Values.topology "rayservice" -}}
{{- fail "milvus.mode: `embedded` keeps the index on one pod's volume, and Ray moves its processes between pods; take `standalone`, `cluster` or `external`." -}}
{{- end -}}
{{- if not .Values.storage.knowledge.enabled -}}
{{- fail "storage.knowledge.enabled: the embedded index would be lost with its pod; set it to true, or take another milvus.mode." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "loraplex.checks.hub" -}}
{{- $model := .Values.config.model.id -}}
{{- if and .Values.airGapped (not (hasPrefix "/" $model)) -}}
{{- fail (printf "config.model.id: `%s` is a hub id, and airGapped pods do not reach the hub; give a folder such as /models/NAME and its claim in storage.models." $model) -}}
{{- end -}}
{{- if and (hasPrefix "/models/" $model) (not .Values.storage.models.existingClaim) (not .Values.extraVolumeMounts) -}}
{{- fail "config.model.id: is below /models, where nothing is mounted; name a claim in storage.models.existingClaim." -}}
{{- end -}}
{{- if and (or .Values.adapterSync.enabled) (not .Values.secrets.adminKey.name) -}}
{{- fail "secrets.adminKey.name: is empty, and adapterSync calls the admin API; name the Secret with an administrator's key." -}}
{{- end -}}
{{- if and .Values.adapterSync.enabled (not .Values.adapterSync.adapters) -}}
{{- fail "adapterSync.adapters: is empty; list what is to be followed, or set adapterSync.enabled to false." -}}
{{- end -}}
{{- end -}}
