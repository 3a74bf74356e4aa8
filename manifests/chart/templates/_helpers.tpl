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

{{- /* The variables of the manager's settings, those of them that are not as the manager has them by itself. */ -}}
{{- define "agentkube.env" -}}
{{- $env := list -}}
{{- with .registry -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_REGISTRY" "value" .) -}}
{{- end -}}
{{- if ne .layout "repository" -}}
{{- $env = append $env (dict "name" "AGENTKUBE_MIRROR_LAYOUT" "value" .layout) -}}
{{- end -}}
{{- range $component, $image := .overrides -}}
{{- /* SessionRecorder is SESSION_RECORDER; all others are one word, however they are written. */ -}}
{{- $row := $component | replace "SessionRecorder" "Session_Recorder" | upper -}}
{{- $env = append $env (dict "name" (printf "AGENTKUBE_IMAGE_%s" $row) "value" $image) -}}
{{- end -}}
{{- with .allowedRegistries -}}
{{- $env = append $env (dict "name" "AGENTKUBE_ALLOWED_REGISTRIES" "value" (join "," .)) -}}
{{- end -}}
{{- if ne .enforcement "deny" -}}
{{- $env = append $env (dict "name" "AGENTKUBE_ENFORCEMENT" "value" .enforcement) -}}
{{- end -}}
{{- if not .authorizeReferences -}}
{{- $env = append $env (dict "name" "AGENTKUBE_AUTHORIZE_REFERENCES" "value" "false") -}}
{{- end -}}
{{- with .pullSecrets -}}
{{- $env = append $env (dict "name" "AGENTKUBE_PULL_SECRETS" "value" (join "," .)) -}}
{{- end -}}
{{- toYaml (dict "env" $env) -}}
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
