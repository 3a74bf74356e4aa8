{{- /*
The objects of a file, as a list. Files are those of the kustomize base and its components: what the
chart installs cannot differ from them.
*/ -}}
{{- define "agentkube.read" -}}
{{- $objects := list -}}
{{- range splitList "\n---\n" (.files.Get (printf "files/%s" .file)) -}}
{{- $objects = append $objects (fromYaml .) -}}
{{- end -}}
{{- toYaml (dict "objects" $objects) -}}
{{- end -}}

{{- /* An object as a document, with the label that kustomize adds. */ -}}
{{- define "agentkube.write" -}}
{{- $labels := default dict .metadata.labels -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "agentkube" -}}
{{- $_ := set .metadata "labels" $labels -}}
---
{{ toYaml . }}
{{ end -}}

{{- /* A file, unchanged. */ -}}
{{- define "agentkube.file" -}}
{{- range (include "agentkube.read" . | fromYaml).objects -}}
{{- include "agentkube.write" . -}}
{{- end -}}
{{- end -}}

{{- /* The manager's own image: as given, or the default, moved to the mirror as the manager moves others. */ -}}
{{- define "agentkube.image" -}}
{{- $path := splitList "/" .default -}}
{{- if .values.image -}}
{{- .values.image -}}
{{- else if .values.overrides.Manager -}}
{{- .values.overrides.Manager -}}
{{- else if not .values.registry -}}
{{- .default -}}
{{- else if eq .values.layout "name" -}}
{{- printf "%s/%s" (trimSuffix "/" .values.registry) (last $path) -}}
{{- else -}}
{{- printf "%s/%s" (trimSuffix "/" .values.registry) (rest $path | join "/") -}}
{{- end -}}
{{- end -}}
