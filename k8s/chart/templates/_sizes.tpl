{{/*
What a pod needs, by model and device. Memory is twice the weights in float32, which are read and then
laid out anew, 2Gi of shared memory and 1Gi for Python, Triton and the activations of a pass, rounded up to
4Gi; on a GPU once the weights go. Both are arithmetic. The GPU's own memory is in docs/deploy.md.
*/}}
{{- define "bionemo-ext.sizes" -}}
esm1nv_44m: {cpu: 2, memory: 4Gi, gpuCpu: 2, gpuMemory: 4Gi, startupSeconds: 120}
esm2_8m: {cpu: 2, memory: 4Gi, gpuCpu: 2, gpuMemory: 4Gi, startupSeconds: 120}
esm2_35m: {cpu: 2, memory: 4Gi, gpuCpu: 2, gpuMemory: 4Gi, startupSeconds: 120}
esm2_150m: {cpu: 4, memory: 8Gi, gpuCpu: 2, gpuMemory: 4Gi, startupSeconds: 180}
esm2_650m: {cpu: 8, memory: 8Gi, gpuCpu: 4, gpuMemory: 8Gi, startupSeconds: 300}
esm2_3b: {cpu: 16, memory: 28Gi, gpuCpu: 4, gpuMemory: 16Gi, startupSeconds: 900}
esm2_15b: {cpu: 32, memory: 116Gi, gpuCpu: 8, gpuMemory: 60Gi, startupSeconds: 1800}
{{- end -}}

{{/* Of the chosen model: cpu, memory and startupSeconds, as YAML. */}}
{{- define "bionemo-ext.size" -}}
{{- $size := index (include "bionemo-ext.sizes" . | fromYaml) .Values.model -}}
{{- $gpu := eq .Values.device "gpu" -}}
cpu: {{ ternary $size.gpuCpu $size.cpu $gpu }}
memory: {{ ternary $size.gpuMemory $size.memory $gpu }}
startupSeconds: {{ .Values.startupSeconds | default $size.startupSeconds }}
{{- end -}}

{{/* Requests equal limits: the class Guaranteed, which is evicted last. */}}
{{- define "bionemo-ext.resources" -}}
{{- $size := include "bionemo-ext.size" . | fromYaml -}}
{{- $own := dict "cpu" (toString $size.cpu) "memory" $size.memory -}}
{{- $base := dict "requests" $own "limits" (deepCopy $own) -}}
{{- $all := .Values.resources | default $base | deepCopy -}}
{{- if eq .Values.device "gpu" -}}
{{- $_ := set $all "limits" (merge (dict "nvidia.com/gpu" 1) $all.limits) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* Threads of the encoder: whole cores of the pod's request, at least one. */}}
{{- define "bionemo-ext.threads" -}}
{{- $cpu := (include "bionemo-ext.resources" . | fromYaml).requests.cpu | toString -}}
{{- $cores := ternary (div (trimSuffix "m" $cpu | int) 1000) (int (float64 $cpu)) (hasSuffix "m" $cpu) -}}
{{- .Values.serve.threads | default (max 1 $cores) -}}
{{- end -}}
