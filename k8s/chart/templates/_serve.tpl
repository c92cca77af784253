{{/* What the image's entrypoint, `bionemo-ext serve`, is given. */}}
{{- define "bionemo-ext.serveArgs" -}}
- {{ include "bionemo-ext.out" . }}/triton
- --host=0.0.0.0
- --threads={{ include "bionemo-ext.threads" . }}
- --log-level={{ .Values.serve.logLevel }}
- --cache-mib={{ .Values.serve.cacheMib }}
- --drain-s={{ .Values.serve.drainSeconds }}
- --json
{{- range .Values.serve.open }}
- --open={{ . }}
{{- end }}
{{- if .Values.tls.secret }}
- --tls-cert=/etc/bionemo-ext/tls/tls.crt
- --tls-key=/etc/bionemo-ext/tls/tls.key
{{- end }}
{{- if .Values.tls.requireClients }}
- --tls-clients=/etc/bionemo-ext/tls/ca.crt
{{- end }}
{{- end -}}

{{- define "bionemo-ext.volumes" -}}
{{- $repository := .Values.repository -}}
- name: models
  {{- if eq $repository.source "claim" }}
  persistentVolumeClaim: {claimName: {{ $repository.claim.name }}, readOnly: true}
  {{- else if eq $repository.source "image" }}
  image: {reference: {{ $repository.image.reference | quote }}, pullPolicy: {{ $repository.image.pullPolicy }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ $repository.objectStore.size }}}
  {{- end }}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
# Tensors pass between Triton and its Python processes here; 64 MB, a container's own, is too small.
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.sharedMemory }}}
{{- with .Values.tls.secret }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{/* The container that copies the repository from an object store before `serve` begins. */}}
{{- define "bionemo-ext.sync" -}}
{{- $store := .Values.repository.objectStore -}}
- name: sync
  image: {{ $store.image }}
  imagePullPolicy: IfNotPresent
  command:
    - sh
    - -c
    - |
      {{- .Files.Get "files/sync.sh" | trim | nindent 6 }}
  env:
    - {name: SOURCE, value: {{ $store.remote | quote }}}
    - {name: TARGET, value: {{ include "bionemo-ext.out" . }}}
    - {name: HOME, value: /tmp}
    # Everything comes from the environment.
    - {name: RCLONE_CONFIG, value: /notfound}
    {{- range $name, $value := $store.env }}
    - {name: {{ $name }}, value: {{ $value | quote }}}
    {{- end }}
  {{- with $store.secret }}
  envFrom:
    - secretRef: {name: {{ . }}}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  resources:
    requests: {cpu: 500m, memory: 512Mi}
    limits: {cpu: "2", memory: 512Mi}
  securityContext: {{- include "bionemo-ext.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: models, mountPath: /models}
    - {name: tmp, mountPath: /tmp}
{{- end -}}
