{{/*
What a pod needs, by model and device. Memory is twice the weights in float32, which are read and then
laid out anew, 2Gi of shared memory and 1Gi for Python, Triton and the activations of a pass, rounded up to
4Gi; on a GPU once the weights go. Both are arithmetic. The GPU's own memory is in docs/deploy.md. weightsGi are
those in float32: of each layer 12 matrices of the hidden size squared.
*/}}
{{- define "bionemo-ext.sizes" -}}
esm1nv_44m: {cpu: 2, memory: 4Gi, gpuCpu: 2, gpuMemory: 4Gi, startupSeconds: 120, weightsGi: 0.16}
esm2_8m: {cpu: 2, memory: 4Gi, gpuCpu: 2, gpuMemory: 4Gi, startupSeconds: 120, weightsGi: 0.03}
esm2_35m: {cpu: 2, memory: 4Gi, gpuCpu: 2, gpuMemory: 4Gi, startupSeconds: 120, weightsGi: 0.12}
esm2_150m: {cpu: 4, memory: 8Gi, gpuCpu: 2, gpuMemory: 4Gi, startupSeconds: 180, weightsGi: 0.55}
esm2_650m: {cpu: 8, memory: 8Gi, gpuCpu: 4, gpuMemory: 8Gi, startupSeconds: 300, weightsGi: 2.42}
esm2_3b: {cpu: 16, memory: 28Gi, gpuCpu: 4, gpuMemory: 16Gi, startupSeconds: 900, weightsGi: 10.55}
esm2_15b: {cpu: 32, memory: 116Gi, gpuCpu: 8, gpuMemory: 60Gi, startupSeconds: 1800, weightsGi: 56.25}
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
{{- /* A part of a GPU, such as nvidia.com/mig-1g.10gb, takes the place of a whole one. */ -}}
{{- if and (eq .Values.device "gpu") (not (contains "nvidia.com/" (toJson $all.limits))) -}}
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

{{/* An amount of bytes as a number of Gi. */}}
{{- define "bionemo-ext.gi" -}}
{{- $units := dict "Ki" 1048576.0 "Mi" 1024.0 "Gi" 1.0 "Ti" 0.0009765625 -}}
{{- divf (regexFind "^[0-9.]+" . | float64) (index $units (regexFind "[A-Z]i$" .)) -}}
{{- end -}}

{{/* Refuse amounts that the model's weights alone exceed, in half their size: an export may be in bfloat16. */}}
{{- define "bionemo-ext.checkSizes" -}}
{{- $v := .Values -}}
{{- $weights := (index (include "bionemo-ext.sizes" . | fromYaml) $v.model).weightsGi -}}
{{- $memory := (include "bionemo-ext.resources" . | fromYaml).limits.memory -}}
{{- $store := ternary $v.repository.objectStore.size "" (eq $v.repository.source "objectStore") -}}
{{- $served := and (eq $v.repository.source "claim") (eq $v.repository.claim.name $v.repository.newClaim.name) -}}
{{- $claim := ternary $v.repository.newClaim.size "" $served -}}
{{- $amounts := dict "resources.limits.memory" $memory "repository.objectStore.size" $store "repository.newClaim.size" $claim -}}
{{- range $name, $amount := $amounts -}}
{{- if and $amount (lt (include "bionemo-ext.gi" $amount | float64) (divf $weights 2)) -}}
{{- fail (printf "%s is %s, but the weights of %s alone are %.1fGi in float32, or half of that in bfloat16" $name $amount $v.model $weights) -}}
{{- end -}}
{{- end -}}
{{- if ge (include "bionemo-ext.gi" $v.sharedMemory | float64) (include "bionemo-ext.gi" $memory | float64) -}}
{{- fail (printf "sharedMemory is %s, but it counts towards the pod's memory, which is %s: leave room for the model" $v.sharedMemory $memory) -}}
{{- end -}}
{{- end -}}
