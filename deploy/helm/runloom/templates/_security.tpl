{{/* What Pod Security "restricted" asks for, with no value set. Takes root, values. */}}

{{/* Whether the cluster chooses the ids of users itself, as OpenShift does. */}}
{{- define "runloom.ownIds" -}}
{{- $openshift := toString .Values.openshift -}}
{{- if eq $openshift "auto" -}}
{{- $openshift = .Capabilities.APIVersions.Has "security.openshift.io/v1" | ternary "true" "false" -}}
{{- end -}}
{{- if ne $openshift "true" }}yes{{ end -}}
{{- end -}}

{{- define "runloom.podSecurity" -}}
{{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if include "runloom.ownIds" .root -}}
{{- $id := .id | default 10001 -}}
{{- $ids := dict "runAsUser" $id "runAsGroup" $id "fsGroup" $id "fsGroupChangePolicy" "OnRootMismatch" -}}
{{- $context = merge $context $ids -}}
{{- end -}}
{{- $given := mergeOverwrite (deepCopy .root.Values.podSecurityContext) (deepCopy (.values.podSecurityContext | default dict)) -}}
{{- mergeOverwrite $context $given | toYaml -}}
{{- end -}}

{{- define "runloom.containerSecurity" -}}
{{- $context := dict
    "allowPrivilegeEscalation" false
    "readOnlyRootFilesystem" true
    "capabilities" (dict "drop" (list "ALL")) -}}
{{- $given := mergeOverwrite (deepCopy .root.Values.containerSecurityContext) (deepCopy (.values.containerSecurityContext | default dict)) -}}
{{- mergeOverwrite $context $given | toYaml -}}
{{- end -}}

{{/* Containers that users add: as restricted as ours, unless they say otherwise themselves. */}}
{{- define "runloom.guests" -}}
{{- $security := include "runloom.containerSecurity" . | fromYaml -}}
{{- range .containers }}
- {{ mergeOverwrite (dict "securityContext" (deepCopy $security)) (deepCopy .) | toYaml | nindent 2 | trim }}
{{- end }}
{{- end -}}
