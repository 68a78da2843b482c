{{/* Selects the series of this release, whatever scraped them. Takes root, and component or nothing for all. */}}
{{- define "runloom.series" -}}
namespace="{{ include "runloom.namespace" .root }}",pod=~"{{ include "runloom.fullname" .root }}-{{ .component | default "(gateway|worker)" }}-.+"
{{- end -}}
