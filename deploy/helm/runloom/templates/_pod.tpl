{{/* The pods of gateway and worker. All take root, component, values. */}}

{{/* Seconds until the kubelet may kill a process that was told to stop: what it needs, or more if asked to. */}}
{{- define "runloom.terminationGrace" -}}
{{- $values := .values -}}
{{/* After the drain budget: code that ignores its stop, and connections and messages that come to their end. */}}
{{- $needed := add (int64 $values.preStopSeconds) (int64 $values.drainBudgetSeconds) 10 -}}
{{- if eq .component "worker" }}{{ $needed = add $needed (int64 $values.stopGraceSeconds) }}{{ end -}}
{{- $given := int64 $values.terminationGracePeriodSeconds -}}
{{- if and (ne $given 0) (lt $given $needed) -}}
{{- fail (printf "%s.terminationGracePeriodSeconds is %d, but it takes up to %d s to stop in order (preStopSeconds, drainBudgetSeconds, for a worker stopGraceSeconds, and 10 s): leave it at 0, or lower the drain budget" .component $given $needed) -}}
{{- end -}}
{{- max $given $needed -}}
{{- end -}}

{{/* What gateways and workers are both told. */}}
{{- define "runloom.roleEnv" -}}
{{- $root := .root -}}
{{- include "runloom.databaseEnv" . }}
{{ include "runloom.natsEnv" . }}
{{ include "runloom.logEnv" . }}
- name: RUNLOOM_LEASE
  value: {{ int64 $root.Values.leaseSeconds | quote }}
- name: RUNLOOM_DRAIN_BUDGET
  value: {{ int64 .values.drainBudgetSeconds | quote }}
- name: RUNLOOM_MONITOR
  value: {{ include "runloom.monitor" . | quote }}
{{- include "runloom.tracingEnv" . }}
{{- if or $root.Values.bundled.postgres.enabled (eq $root.Values.migration.mode "start") }}
- name: RUNLOOM_MIGRATE
  value: "true"
{{- end }}
{{- with $root.Values.graphs }}
{{- with .config }}
- name: RUNLOOM_CONFIG
  value: {{ . | quote }}
{{- end }}
{{- with .python }}
- name: RUNLOOM_PYTHON
  value: {{ . | quote }}
{{- end }}
{{- if .allowUnsupported }}
- name: RUNLOOM_ALLOW_UNSUPPORTED
  value: "true"
{{- end }}
{{- if .demo }}
- name: RUNLOOM_DEMO
  value: "true"
{{- end }}
{{- with .executor.processes }}
- name: RUNLOOM_EXECUTOR_PROCESSES
  value: {{ int64 . | quote }}
{{- end }}
{{- with .executor.maxRuns }}
- name: RUNLOOM_EXECUTOR_MAX_RUNS
  value: {{ int64 . | quote }}
{{- end }}
{{- with .executor.memoryMiB }}
- name: RUNLOOM_EXECUTOR_MEMORY_LIMIT
  value: {{ int64 . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where spans go. */}}
{{- define "runloom.tracingEnv" -}}
{{- with .root.Values.tracing }}
{{- if .endpoint }}
- name: RUNLOOM_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
{{- with .headers.secretName }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.root.Values.tracing.headers.key }}
{{- end }}
{{- with .serviceName }}
- name: OTEL_SERVICE_NAME
  value: {{ . | quote }}
{{- end }}
{{- with .sampler }}
- name: OTEL_TRACES_SAMPLER
  value: {{ . }}
{{- end }}
{{- with .samplerArg }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "runloom.logEnv" -}}
- name: RUNLOOM_LOG
  value: {{ .root.Values.log.filter | quote }}
- name: RUNLOOM_LOG_FORMAT
  value: {{ .root.Values.log.format }}
{{- end -}}

{{/* Adds what users give to what the chart says (text: a YAML list), and refuses to say anything twice: the
last one would win silently, past every check above. Takes root, component, values, text. */}}
{{- define "runloom.env" -}}
{{- $names := dict -}}
{{- $own := .text | fromYamlArray -}}
{{- range $own }}{{ $_ := set $names .name true }}{{ end -}}
{{- range concat .root.Values.env .values.env -}}
{{- if hasKey $names .name -}}
{{- fail (printf "env of %s sets %s, which the chart sets itself or which is there twice: use the value that it has in values.yaml" $.component .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- end -}}
{{- concat $own .root.Values.env .values.env | toYaml -}}
{{- end -}}

{{/* One pod away from the next, on hosts first and then in zones, as far as possible. */}}
{{- define "runloom.spread" -}}
{{- if .values.topologySpreadConstraints -}}
{{- toYaml .values.topologySpreadConstraints -}}
{{- else -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ $key }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "runloom.selector" $ | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end -}}
{{- end -}}

{{/* The address on which a process answers its operators. Takes root, values. */}}
{{- define "runloom.monitor" -}}
{{- $host := .root.Values.listen -}}
{{- printf (contains ":" $host | ternary "[%s]:%d" "%s:%d") $host (int64 .values.monitorPort) -}}
{{- end -}}

{{/* A probe, of the port that answers from the very start to the very end. Takes path, settings. */}}
{{- define "runloom.probe" -}}
httpGet:
  path: {{ .path }}
  port: monitor
{{- range $key, $value := .settings }}
{{ $key }}: {{ int64 $value }}
{{- end }}
{{- end -}}

{{/* The Deployment of a role. Takes root, component, values, text (its environment). */}}
{{- define "runloom.deployment" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $files := merge (dict "bus" true) . -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "runloom.metadata" (dict "root" $root "component" .component "suffix" .component
      "labels" $values.labels "annotations" $values.annotations) | nindent 2 }}
spec:
  {{- if not .scaled }}
  replicas: {{ int64 $values.replicas }}
  {{- end }}
  revisionHistoryLimit: {{ int64 $values.revisionHistoryLimit }}
  minReadySeconds: {{ int64 $values.minReadySeconds }}
  strategy:
    {{- toYaml $values.strategy | nindent 4 }}
  selector:
    matchLabels:
      {{- include "runloom.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "runloom.selector" . | nindent 8 }}
        app.kubernetes.io/part-of: runloom
        {{- with merge dict $values.podLabels $root.Values.commonLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- $checksums := include "runloom.checksums" . | fromYaml }}
      {{- with merge dict $values.podAnnotations $checksums $root.Values.commonAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "runloom.serviceAccountName" . }}
      automountServiceAccountToken: {{ $values.serviceAccount.automount }}
      # Variables such as RUNLOOM_PORT, made of the names of services, would be taken for settings.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "runloom.terminationGrace" . }}
      {{- with include "runloom.pullSecrets" $root | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      securityContext:
        {{- include "runloom.podSecurity" . | nindent 8 }}
      {{- range $key := list "priorityClassName" "schedulerName" "runtimeClassName" "dnsPolicy" }}
      {{- with get $values $key }}
      {{ $key }}: {{ . }}
      {{- end }}
      {{- end }}
      {{- range $key := list "nodeSelector" "affinity" "tolerations" "dnsConfig" "hostAliases" }}
      {{- with get $values $key }}
      {{ $key }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- if or $values.topologySpread $values.topologySpreadConstraints }}
      topologySpreadConstraints:
        {{- with include "runloom.spread" . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with $values.initContainers }}
      initContainers:
        {{- include "runloom.guests" (dict "root" $root "values" $values "containers" .) | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          {{- include "runloom.ownImage" . | nindent 10 }}
          args:
            {{- concat (list .component) $values.extraArgs | toYaml | nindent 12 }}
          env:
            {{- include "runloom.env" . | nindent 12 }}
          {{- with concat $root.Values.envFrom $values.envFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- with $values.port }}
            - name: http
              containerPort: {{ int64 . }}
            {{- end }}
            - name: monitor
              containerPort: {{ int64 $values.monitorPort }}
          startupProbe:
            {{- include "runloom.probe" (dict "path" "/ok" "settings" $values.probes.startup) | nindent 12 }}
          livenessProbe:
            {{- include "runloom.probe" (dict "path" "/ok" "settings" $values.probes.liveness) | nindent 12 }}
          readinessProbe:
            {{- include "runloom.probe" (dict "path" "/ready" "settings" $values.probes.readiness) | nindent 12 }}
          {{- if $values.lifecycle }}
          lifecycle:
            {{- toYaml $values.lifecycle | nindent 12 }}
          {{- else if int64 $values.preStopSeconds }}
          lifecycle:
            preStop:
              sleep:
                seconds: {{ int64 $values.preStopSeconds }}
          {{- end }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            {{- include "runloom.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- with include "runloom.serverMounts" $files | trim }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- with $values.volumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
        {{- with $values.sidecars }}
        {{- include "runloom.guests" (dict "root" $root "values" $values "containers" .) | nindent 8 }}
        {{- end }}
      volumes:
        - name: tmp
          emptyDir: {}
        {{- with include "runloom.serverVolumes" $files | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $values.volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{/* A change of a secret that the chart makes itself replaces the pods. */}}
{{- define "runloom.checksums" -}}
{{- $nats := include "runloom.nats" . | fromYaml -}}
{{- $secrets := list .root.Values.database.url $nats.creds.contents $nats.nkey.contents -}}
{{- if join "" $secrets }}
checksum/secrets: {{ $secrets | toJson | sha256sum }}
{{- end }}
{{- end -}}
