{{/*
Names are fixed, not made from the release's name: there is one usher in a cluster (its CRDs, its Lease and its marks are one),
and policies, RBAC and `usher` commands know the objects by these names. A second release fails with Helm's own ownership error.
*/}}

{{- define "usher.selectorLabels" -}}
app.kubernetes.io/name: usher
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "usher.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{ include "usher.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The user name by which the API server knows the operator. */}}
{{- define "usher.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:usher
{{- end }}

{{- define "usher.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* What the operator reads: exactly these values, under the same keys; and whether the API server stamps who asks. */}}
{{- define "usher.settings" -}}
{{ pick .Values "audit" "cluster" "credentials" "fence" "figures" "offboarding" "leaderElection" "log" "page" "scim" | merge (dict "audit" (dict "requesterStamp" (eq (include "usher.stamps" .) "true"))) | toYaml }}
{{- end }}

{{/*
A manifest from defaults/, with the annotation that `kubectl apply` compares with: so whoever later applies a file of the same name
replaces what the default said, instead of merging with it (the labels of a selector, for instance).
*/}}
{{- define "usher.default" -}}
{{- $manifest := .Files.Get .file | fromYaml -}}
{{- if $manifest.Error }}{{ fail (printf "%s: %s" .file $manifest.Error) }}{{ end -}}
{{- $saved := $manifest | toJson -}}
{{- $_ := set $manifest.metadata "annotations" (dict "kubectl.kubernetes.io/last-applied-configuration" $saved) -}}
{{ toYaml $manifest }}
{{- end }}
