{{- define "bionemo-ext.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of an object: a dict of root and component (serve or gateway). */}}
{{- define "bionemo-ext.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "bionemo-ext.labels" -}}
{{ include "bionemo-ext.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "bionemo-ext.metadata" -}}
name: {{ include "bionemo-ext.name" .root }}{{ .suffix }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "bionemo-ext.labels" . | nindent 2 }}
{{- end -}}

{{/* A dict of image and root. */}}
{{- define "bionemo-ext.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Of every pod. 10001 is the user of the images. */}}
{{- define "bionemo-ext.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
# Large volumes are not walked through at each start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "bionemo-ext.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* A dict of root and component: pods of one kind keep apart where they can. */}}
{{- define "bionemo-ext.spread" -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ $key }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  # Pods of the version that is leaving do not count.
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels: {{- include "bionemo-ext.selector" $ | nindent 6 }}
{{- end }}
{{- end -}}

{{/* Where the exported folder OUT is in the pod. */}}
{{- define "bionemo-ext.out" -}}
{{- if eq .Values.repository.source "objectStore" -}}
/models/current
{{- else -}}
{{ list "/models" .Values.repository.path | compact | join "/" }}
{{- end -}}
{{- end -}}

{{/* The address that clients in the cluster ask: a name that has every ready replica's address. */}}
{{- define "bionemo-ext.url" -}}
{{ ternary "grpcs" "grpc" (not (empty .Values.tls.secret)) }}://{{ include "bionemo-ext.name" . }}-grpc.{{ .Release.Namespace }}.svc:8001
{{- end -}}

{{- define "bionemo-ext.autoscaled" -}}
{{- if ne .Values.autoscaling.kind "none" }}yes{{ end -}}
{{- end -}}

{{/* Of the release's series in Prometheus. */}}
{{- define "bionemo-ext.series" -}}
namespace="{{ .Release.Namespace }}",job="{{ .Release.Name }}"
{{- end -}}
