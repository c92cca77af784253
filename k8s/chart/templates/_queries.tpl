{{/*
How long requests wait before their pass on average, and how many do, by pod. The encoder keeps its own queue
and counts it (bionemo_ext_*); that of ESMFold is Triton's (nv_*). Without requests the time is 0 and not
missing, so that an autoscaler reads it.
*/}}
{{- define "bionemo-ext.queueSeconds" -}}
{{- $s := include "bionemo-ext.series" . -}}
(
  sum by (namespace, pod) (rate(bionemo_ext_queue_us_total{ {{- $s -}} }[2m]))
  / clamp_min(sum by (namespace, pod) (rate(bionemo_ext_queued_requests_total{ {{- $s -}} }[2m])), 0.001)
  +
  sum by (namespace, pod) (rate(nv_inference_queue_duration_us{ {{- $s -}} }[2m]))
  / clamp_min(sum by (namespace, pod) (rate(nv_inference_request_success{ {{- $s -}} }[2m])), 0.001)
) / 1e6
{{- end -}}

{{- define "bionemo-ext.pendingRequests" -}}
{{- $s := include "bionemo-ext.series" . -}}
sum by (namespace, pod) (bionemo_ext_pending_requests{ {{- $s -}} })
+
sum by (namespace, pod) (nv_inference_pending_request_count{ {{- $s -}} })
{{- end -}}
