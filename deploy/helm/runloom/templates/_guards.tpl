{{/* Combinations that cannot work are refused here, in words, before anything is installed. */}}
{{- define "runloom.guards" -}}
{{- $values := .Values -}}
{{- $databases := 0 -}}
{{- if $values.database.existingSecret }}{{ $databases = add1 $databases }}{{ end -}}
{{- if $values.database.url }}{{ $databases = add1 $databases }}{{ end -}}
{{- if $values.bundled.postgres.enabled }}{{ $databases = add1 $databases }}{{ end -}}
{{- if ne (int $databases) 1 -}}
{{- fail "say where Postgres is, in one way: database.existingSecret (a secret with the URL), database.url, or bundled.postgres.enabled for a trial" -}}
{{- end -}}
{{- with $values.database.tlsCA -}}
{{- if and .enabled (not (or .configMapName .secretName)) -}}
{{- fail "database.tlsCA.enabled needs database.tlsCA.secretName or configMapName" -}}
{{- end -}}
{{- end -}}
{{- if and (eq (len $values.nats.urls) 0) (not $values.bundled.nats.enabled) -}}
{{- fail "say where NATS is: nats.urls, such as [nats://nats.nats.svc:4222], or bundled.nats.enabled for a trial" -}}
{{- end -}}
{{- if and $values.nats.urls $values.bundled.nats.enabled -}}
{{- fail "nats.urls and bundled.nats.enabled exclude each other" -}}
{{- end -}}
{{- range $component := list "gateway" "worker" "tests" -}}
{{- $nats := include "runloom.nats" (dict "root" $ "values" (get $values $component)) | fromYaml -}}
{{- range $kind := list "creds" "nkey" -}}
{{- $file := get $nats $kind -}}
{{- if and $file.contents $file.secretName -}}
{{- fail (printf "nats.%s.contents and nats.%s.secretName exclude each other (%s)" $kind $kind $component) -}}
{{- end -}}
{{- end -}}
{{- if and $nats.domain $nats.apiPrefix -}}
{{- fail (printf "nats.domain and nats.apiPrefix exclude each other: a domain is such a prefix (%s)" $component) -}}
{{- end -}}
{{- if and $nats.user.name (not $nats.user.secretName) -}}
{{- fail (printf "nats.user.name needs nats.user.secretName, the secret with the password (%s)" $component) -}}
{{- end -}}
{{- if and $nats.tlsCA.enabled (not (or $nats.tlsCA.configMapName $nats.tlsCA.secretName)) -}}
{{- fail (printf "nats.tlsCA.enabled needs nats.tlsCA.secretName or configMapName (%s)" $component) -}}
{{- end -}}
{{- end -}}
{{- range $component := list "gateway" "worker" -}}
{{- $disruptions := (get $values $component).podDisruptionBudget -}}
{{- if and (hasKey $disruptions "minAvailable") (hasKey $disruptions "maxUnavailable") -}}
{{- fail (printf "%s.podDisruptionBudget: minAvailable or maxUnavailable, not both (maxUnavailable: null takes the default away)" $component) -}}
{{- end -}}
{{- $scaling := (get $values $component).autoscaling -}}
{{- if and $scaling.enabled (lt (int64 $scaling.maxReplicas) (int64 $scaling.minReplicas)) -}}
{{- fail (printf "%s.autoscaling: maxReplicas is less than minReplicas" $component) -}}
{{- end -}}
{{- end -}}
{{- with $values.worker.keda -}}
{{- if .enabled -}}
{{- if $values.worker.autoscaling.enabled -}}
{{- fail "worker.autoscaling and worker.keda exclude each other: KEDA makes an autoscaler of its own" -}}
{{- end -}}
{{- if and (eq .trigger "prometheus") (not .prometheusAddress) -}}
{{- fail "worker.keda.trigger prometheus needs worker.keda.prometheusAddress" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.metrics.serviceMonitor.enabled $values.metrics.podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor and metrics.podMonitor exclude each other: all would be collected, and counted, twice" -}}
{{- end -}}
{{- if $values.networkPolicy.enabled -}}
{{- include "runloom.ports" . -}}
{{- end -}}
{{- if and $values.retention.threadStrategy (not $values.retention.threadMinutes) -}}
{{- fail "retention.threadStrategy says what becomes of threads after retention.threadMinutes, which is not set" -}}
{{- end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs, the gateways to attach to" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.hosts) -}}
{{- fail "ingress.enabled needs ingress.hosts" -}}
{{- end -}}
{{- end -}}

{{/* A policy that lets through another port than the one that an address names would cut everything off. */}}
{{- define "runloom.ports" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $ports := list -}}
{{- range $component := list "gateway" "worker" "tests" -}}
{{- $nats := include "runloom.nats" (dict "root" $ "values" (get $.Values $component)) | fromYaml -}}
{{- range $nats.urls -}}
{{- $ports = append $ports (list "nats" . "4222") -}}
{{- end -}}
{{- end -}}
{{- with .Values.database.url -}}
{{- $ports = append $ports (list "postgres" . "5432") -}}
{{- end -}}
{{- with .Values.tracing.endpoint -}}
{{- $ports = append $ports (list "tracing" . (hasPrefix "https:" . | ternary "443" "80")) -}}
{{- end -}}
{{- range $ports -}}
{{- $peer := index . 0 -}}
{{/* What stands between the scheme, perhaps a user, and the path; a port is behind its last colon, and no ]. */}}
{{- $host := index . 1 | trimPrefix (regexFind "^[a-z+]+://" (index . 1)) | regexFind "^[^/?,]*" | regexFind "[^@]*$" -}}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" | default (index . 2) -}}
{{- if ne $port (toString (int64 (get $policy $peer).port)) -}}
{{- fail (printf "networkPolicy lets %s through on port %d only (networkPolicy.%s.port), but it is at %s: set that port" $peer (int64 (get $policy $peer).port) $peer $port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
