{{/* The paths of the API. Not "/": that would show `/metrics` to everybody. */}}
{{- define "runloom.paths" -}}
[/assistants, /threads, /runs, /store, /info, /ok, /docs, /openapi.json]
{{- end -}}

{{/* What each ingress controller has to be told so that streams of events pass as they come, for long. */}}
{{- define "runloom.ingressAnnotations" -}}
{{- $seconds := int64 .Values.ingress.streamSeconds -}}
{{- if eq .Values.ingress.controller "nginx" -}}
nginx.ingress.kubernetes.io/proxy-buffering: "off"
nginx.ingress.kubernetes.io/proxy-request-buffering: "off"
nginx.ingress.kubernetes.io/proxy-http-version: "1.1"
nginx.ingress.kubernetes.io/proxy-read-timeout: {{ $seconds | quote }}
nginx.ingress.kubernetes.io/proxy-send-timeout: {{ $seconds | quote }}
nginx.ingress.kubernetes.io/proxy-body-size: {{ printf "%dm" (int64 .Values.gateway.bodyLimitMiB) | quote }}
# A request that may have been carried out is not sent again.
nginx.ingress.kubernetes.io/proxy-next-upstream: "error"
{{- else if eq .Values.ingress.controller "haproxy" -}}
haproxy.org/timeout-server: {{ printf "%ds" $seconds | quote }}
haproxy.org/timeout-client: {{ printf "%ds" $seconds | quote }}
{{- else if eq .Values.ingress.controller "alb" -}}
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/healthcheck-path: /ready
alb.ingress.kubernetes.io/load-balancer-attributes: {{ printf "idle_timeout.timeout_seconds=%d" (min $seconds 4000) | quote }}
alb.ingress.kubernetes.io/target-group-attributes: {{ printf "deregistration_delay.timeout_seconds=%d" (int64 .Values.gateway.drainBudgetSeconds) | quote }}
{{- end -}}
{{- end -}}
