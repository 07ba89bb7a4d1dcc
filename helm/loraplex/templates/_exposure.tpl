{{/* Seconds that a proxy in front must wait for an answer: longer than the gateway itself, so that the caller gets its
     error and not a proxy's. */}}
{{- define "loraplex.proxySeconds" -}}
{{- add (ceil (float64 (dig "server" "request_timeout_s" 600 .Values.config))) 30 -}}
{{- end -}}

{{/* What an Ingress controller needs to know for streams: annotations. */}}
{{- define "loraplex.streamingAnnotations" -}}
{{- $seconds := include "loraplex.proxySeconds" . -}}
{{- if eq .Values.ingress.controller "nginx" -}}
nginx.ingress.kubernetes.io/proxy-buffering: "off"
nginx.ingress.kubernetes.io/proxy-request-buffering: "off"
nginx.ingress.kubernetes.io/proxy-http-version: "1.1"
nginx.ingress.kubernetes.io/proxy-read-timeout: {{ $seconds | quote }}
nginx.ingress.kubernetes.io/proxy-send-timeout: {{ $seconds | quote }}
# The gateway has limits of its own (server.max_body_bytes), and answers them in OpenAI's form.
nginx.ingress.kubernetes.io/proxy-body-size: "0"
# A generation is not sent twice: the gateway itself says what is worth another attempt.
nginx.ingress.kubernetes.io/proxy-next-upstream: "error timeout"
nginx.ingress.kubernetes.io/proxy-next-upstream-tries: "2"
{{- else if eq .Values.ingress.controller "haproxy" -}}
haproxy.org/timeout-server: {{ printf "%ss" $seconds | quote }}
{{- else if eq .Values.ingress.controller "alb" -}}
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/healthcheck-path: /readyz
alb.ingress.kubernetes.io/load-balancer-attributes: {{ printf "idle_timeout.timeout_seconds=%s" $seconds | quote }}
alb.ingress.kubernetes.io/target-group-attributes: {{ printf "deregistration_delay.timeout_seconds=%d" (min 3600 (int .Values.gateway.drainSeconds)) | quote }}
{{- else -}}
{}
{{- end -}}
{{- end -}}
