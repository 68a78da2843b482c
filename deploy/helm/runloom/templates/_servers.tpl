{{/* Where Postgres and NATS are, and how to get in: environment, volumes, mounts. Takes root, values. */}}

{{/* Name of the secret that has the URL of the database. */}}
{{- define "runloom.databaseSecret" -}}
{{- .root.Values.database.existingSecret | default (printf "%s-database" (include "runloom.fullname" .root)) -}}
{{- end -}}

{{- define "runloom.databaseEnv" -}}
{{- $database := .root.Values.database -}}
{{- $own := .values.database | default dict -}}
- name: RUNLOOM_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ $own.existingSecret | default (include "runloom.databaseSecret" .) }}
      key: {{ if $own.existingSecret }}{{ $own.secretKey | default "url" }}{{ else if $database.existingSecret }}{{ $database.secretKey }}{{ else }}url{{ end }}
{{- with $database.password.secretName }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $database.password.key }}
{{- end }}
{{- if $database.tlsCA.enabled }}
- name: PGSSLROOTCERT
  value: {{ printf "%s/%s" $database.tlsCA.dir $database.tlsCA.key }}
{{- end }}
- name: RUNLOOM_DATABASE_POOL
  value: {{ int64 ($own.pool | default $database.pool) | quote }}
- name: RUNLOOM_DATABASE_PREPARED
  value: {{ $database.prepared | quote }}
{{- end -}}

{{/* The NATS settings of a component: its own over those of all. As YAML. */}}
{{- define "runloom.nats" -}}
{{- $nats := mergeOverwrite (deepCopy .root.Values.nats) (deepCopy (.values.nats | default dict)) -}}
{{- if .root.Values.bundled.nats.enabled -}}
{{- $_ := set $nats "urls" (list (printf "nats://%s-nats:4222" (include "runloom.fullname" .root))) -}}
{{- end -}}
{{- toYaml $nats -}}
{{- end -}}

{{/* Name of the secret that the chart makes of `contents`. Takes root, component, kind. */}}
{{- define "runloom.contentsSecret" -}}
{{- printf "%s-%s-nats-%s" (include "runloom.fullname" .root) .component .kind -}}
{{- end -}}

{{- define "runloom.natsEnv" -}}
{{- $nats := include "runloom.nats" . | fromYaml -}}
- name: RUNLOOM_NATS_URL
  value: {{ join "," $nats.urls | quote }}
- name: RUNLOOM_NATS_PREFIX
  value: {{ $nats.prefix | quote }}
{{- with $nats.inboxPrefix }}
- name: RUNLOOM_NATS_INBOX_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- with $nats.domain }}
- name: RUNLOOM_NATS_DOMAIN
  value: {{ . | quote }}
{{- end }}
{{- with $nats.apiPrefix }}
- name: RUNLOOM_NATS_API_PREFIX
  value: {{ . | quote }}
{{- end }}
# What the connections are called on the servers.
- name: RUNLOOM_NATS_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- range $kind := list "creds" "nkey" }}
{{- $file := get $nats $kind }}
{{- if or $file.contents $file.secretName }}
- name: RUNLOOM_NATS_{{ upper $kind }}
  value: {{ printf "%s/%s" $file.dir $file.key }}
{{- end }}
{{- end }}
{{- if $nats.user.name }}
- name: RUNLOOM_NATS_USER
  value: {{ $nats.user.name | quote }}
- name: RUNLOOM_NATS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $nats.user.secretName }}
      key: {{ $nats.user.key }}
{{- end }}
{{- if $nats.token.secretName }}
- name: RUNLOOM_NATS_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ $nats.token.secretName }}
      key: {{ $nats.token.key }}
{{- end }}
{{- if $nats.tls.secretName }}
- name: RUNLOOM_NATS_TLS_CERT
  value: {{ printf "%s/%s" $nats.tls.dir $nats.tls.cert }}
- name: RUNLOOM_NATS_TLS_KEY
  value: {{ printf "%s/%s" $nats.tls.dir $nats.tls.key }}
{{- end }}
{{- if $nats.tlsCA.enabled }}
- name: RUNLOOM_NATS_TLS_CA
  value: {{ printf "%s/%s" $nats.tlsCA.dir $nats.tlsCA.key }}
{{- end }}
{{- if $nats.tlsFirst }}
- name: RUNLOOM_NATS_TLS_FIRST
  value: "true"
{{- end }}
{{- if $nats.requireTLS }}
- name: RUNLOOM_NATS_REQUIRE_TLS
  value: "true"
{{- end }}
- name: RUNLOOM_NATS_MANAGE_STREAMS
  value: {{ $nats.streams.manage | quote }}
- name: RUNLOOM_NATS_REPLICAS
  value: {{ int64 $nats.streams.replicas | quote }}
- name: RUNLOOM_NATS_STORAGE
  value: {{ $nats.streams.storage }}
- name: RUNLOOM_NATS_EVENT_SHARDS
  value: {{ int64 $nats.streams.eventShards | quote }}
- name: RUNLOOM_NATS_MAX_BYTES
  value: {{ int64 $nats.streams.maxMiB | quote }}
- name: RUNLOOM_NATS_EVENT_AGE
  value: {{ int64 $nats.streams.eventSeconds | quote }}
- name: RUNLOOM_NATS_LIFECYCLE_AGE
  value: {{ int64 $nats.streams.lifecycleSeconds | quote }}
{{- end -}}

{{/* Volumes of what is read from files. Takes root, component, values, and bus: whether NATS is spoken to. */}}
{{- define "runloom.serverVolumes" -}}
{{- with .root.Values.database.tlsCA }}
{{- if .enabled }}
- name: database-ca
  {{- include "runloom.caSource" . | nindent 2 }}
{{- end }}
{{- end }}
{{- if .bus }}
{{- $nats := include "runloom.nats" . | fromYaml }}
{{- range $kind := list "creds" "nkey" }}
{{- $file := get $nats $kind }}
{{- if or $file.contents $file.secretName }}
- name: nats-{{ $kind }}
  secret:
    secretName: {{ $file.secretName | default (include "runloom.contentsSecret" (dict "root" $.root "component" $.component "kind" $kind)) }}
{{- end }}
{{- end }}
{{- if $nats.tls.secretName }}
- name: nats-tls
  secret:
    secretName: {{ $nats.tls.secretName }}
{{- end }}
{{- if $nats.tlsCA.enabled }}
- name: nats-ca
  {{- include "runloom.caSource" $nats.tlsCA | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "runloom.caSource" -}}
{{- if .configMapName -}}
configMap:
  name: {{ .configMapName }}
{{- else -}}
secret:
  secretName: {{ .secretName }}
{{- end -}}
{{- end -}}

{{- define "runloom.serverMounts" -}}
{{- with .root.Values.database.tlsCA }}
{{- if .enabled }}
- name: database-ca
  mountPath: {{ .dir }}
  readOnly: true
{{- end }}
{{- end }}
{{- if .bus }}
{{- $nats := include "runloom.nats" . | fromYaml }}
{{- range $kind := list "creds" "nkey" }}
{{- $file := get $nats $kind }}
{{- if or $file.contents $file.secretName }}
- name: nats-{{ $kind }}
  mountPath: {{ $file.dir }}
  readOnly: true
{{- end }}
{{- end }}
{{- if $nats.tls.secretName }}
- name: nats-tls
  mountPath: {{ $nats.tls.dir }}
  readOnly: true
{{- end }}
{{- if $nats.tlsCA.enabled }}
- name: nats-ca
  mountPath: {{ $nats.tlsCA.dir }}
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}
