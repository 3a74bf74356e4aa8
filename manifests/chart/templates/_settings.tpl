{{- /* Written by `.ci/generate` from the tables of settings and of images. */ -}}

{{- /* The variables of the manager's settings, those of them that are not as the manager has them by itself. */ -}}
{{- define "agentkube.env" -}}
{{- $env := list -}}
{{- with .overrides.Manager -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_MANAGER" "value" .) -}}
{{- end -}}
{{- with .overrides.Agentlet -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_AGENTLET" "value" .) -}}
{{- end -}}
{{- with .overrides.SessionRecorder -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_SESSION_RECORDER" "value" .) -}}
{{- end -}}
{{- with .overrides.ClaudeCode -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_CLAUDECODE" "value" .) -}}
{{- end -}}
{{- with .overrides.Codex -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_CODEX" "value" .) -}}
{{- end -}}
{{- with .overrides.OpenCode -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_OPENCODE" "value" .) -}}
{{- end -}}
{{- with .overrides.Aider -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_AIDER" "value" .) -}}
{{- end -}}
{{- with .overrides.Cline -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_CLINE" "value" .) -}}
{{- end -}}
{{- with .overrides.Goose -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_GOOSE" "value" .) -}}
{{- end -}}
{{- with .overrides.Cursor -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_CURSOR" "value" .) -}}
{{- end -}}
{{- with .registry -}}
{{- $env = append $env (dict "name" "AGENTKUBE_IMAGE_REGISTRY" "value" .) -}}
{{- end -}}
{{- if ne .layout "repository" -}}
{{- $env = append $env (dict "name" "AGENTKUBE_MIRROR_LAYOUT" "value" .layout) -}}
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
