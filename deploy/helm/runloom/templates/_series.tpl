{{/* Selects the series of this release, whatever scraped them. Takes root, and component or nothing for all. */}}
{{- define "runloom.series" -}}
namespace="{{ include "runloom.namespace" .root }}",pod=~"{{ include "runloom.fullname" .root }}-{{ .component | default "(gateway|worker)" }}-.+"
{{- end -}}

{{/* By how much a counter grew in a quarter of an hour, which may be the whole of it: most counters are not
there before the first time. Takes number, series. */}}
{{- define "runloom.grown" -}}
{{- $counter := printf "%s{%s}" .number .series -}}
((increase({{ $counter }}[15m]) > 0) or ({{ $counter }} unless {{ $counter }} offset 15m))
{{- end -}}
