{{/*
Pieces of the admission policies. They are CEL: one line each, so that a policy can put them where it needs them.
*/}}

{{/* The binding that puts a policy into force for the whole cluster; a policy with limits of its own says them in matchConstraints. */}}
{{- define "usher.inForce" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "usher.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* The request comes from the operator. */}}
{{- define "usher.byOperator" -}}
request.userInfo.username == '{{ include "usher.user" . }}'
{{- end }}

{{/* The request comes from Kubernetes' own controllers: garbage collection, the emptying of a deleted namespace, whatever they run as. */}}
{{- define "usher.bySystem" -}}
(request.userInfo.username == 'system:kube-controller-manager' || request.userInfo.?groups.orValue([]).exists(g, g == 'system:serviceaccounts:kube-system'))
{{- end }}

{{/*
What somebody asks for is new. Whatever asks what the requester may grant applies only then: garbage collection, foreground deletion, finalizers and
annotations write the object as well, as somebody who may grant nothing, and would hang (tried).
*/}}
{{- define "usher.asks" -}}
(request.operation == 'CREATE' || object.?spec.orValue({}) != oldObject.?spec.orValue({}) || object.metadata.?labels.orValue({}) != oldObject.metadata.?labels.orValue({}))
{{- end }}

{{/* The kinds that people write, those of later versions too. */}}
{{- define "usher.declared" -}}
[developers, roles, bindings, environments, providers, locks, sources]
{{- end }}

{{/* Namespaces that no Environment matches and that are nobody's workspace, by the name in the expression given. */}}
{{- define "usher.reserved" -}}
({{ .name }}.startsWith('kube-') || {{ .name }} in ['default', 'usher-identities', '{{ .root.Release.Namespace }}'])
{{- end }}

{{/* An object has a mark of usher's: the label of who manages it, or that of the installation, which is what usher goes by. */}}
{{- define "usher.marked" -}}
({{ . }}.metadata.?labels[?'app.kubernetes.io/managed-by'].orValue('') == 'usher' || {{ . }}.metadata.?labels[?'usher.dev/installation'].hasValue())
{{- end }}

{{/* The request is about something in a workspace. */}}
{{- define "usher.inWorkspace" -}}
(namespaceObject != null && namespaceObject.metadata.?labels[?'usher.dev/workspace'].hasValue())
{{- end }}

{{/*
Whether the API server can stamp who asked (MutatingAdmissionPolicy v1, from Kubernetes 1.36); empty if not. Asked of the API server, if Helm asks one
(then it knows that there are namespaces); with `helm template` alone, of the version of Kubernetes that is said.
*/}}
{{- define "usher.stamps" -}}
{{- if .Capabilities.APIVersions.Has "v1/Namespace" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}true{{ end -}}
{{- else if semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version }}true{{ end -}}
{{- end }}
