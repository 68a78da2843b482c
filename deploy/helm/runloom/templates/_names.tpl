{{/* Names and labels. Selectors are made of three labels that never change between versions. */}}

{{- define "runloom.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 46 | trimSuffix "-" -}}
{{- end -}}

{{- define "runloom.fullname" -}}
{{- $name := include "runloom.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 46 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "runloom.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{/* Selector of a component. Takes root, component. */}}
{{- define "runloom.selector" -}}
app.kubernetes.io/name: {{ include "runloom.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object. Takes root, component. */}}
{{- define "runloom.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "runloom.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: runloom
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The whole metadata of an object. Takes root, component, and perhaps suffix, labels, annotations. */}}
{{- define "runloom.metadata" -}}
name: {{ include "runloom.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ include "runloom.namespace" .root }}
labels:
  {{- include "runloom.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge dict (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "runloom.serviceAccountName" -}}
{{- $account := .values.serviceAccount -}}
{{- if $account.create -}}
{{- $account.name | default (printf "%s-%s" (include "runloom.fullname" .root) .component) -}}
{{- else -}}
{{- $account.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The reference of an image. Takes root, image: registry, repository, tag, digest. */}}
{{- define "runloom.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .image.registry -}}
{{- $name := .image.repository -}}
{{- if $registry }}{{ $name = printf "%s/%s" $registry $name }}{{ end -}}
{{- if .image.tag }}{{ $name = printf "%s:%s" $name .image.tag }}{{ end -}}
{{- if .image.digest }}{{ $name = printf "%s@%s" $name .image.digest }}{{ end -}}
{{- $name -}}
{{- end -}}

{{/* The image of a component of ours: what it says itself, over what holds for all. */}}
{{- define "runloom.ownImage" -}}
{{- $image := mergeOverwrite (deepCopy .root.Values.image) (deepCopy (.values.image | default dict)) -}}
{{- if not (or $image.tag $image.digest) }}{{ $_ := set $image "tag" .root.Chart.AppVersion }}{{ end -}}
image: {{ include "runloom.image" (dict "root" .root "image" $image) }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end -}}

{{- define "runloom.pullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
