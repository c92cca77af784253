{{/* What single values cannot tell: each mistake ends with one sentence, before anything is created. */}}
{{- define "bionemo-ext.checks" -}}
{{- $v := .Values -}}
{{- include "bionemo-ext.checkFormats" . -}}
{{- if and (eq $v.repository.source "objectStore") (not $v.repository.objectStore.remote) -}}
{{- fail "repository.source is objectStore, so repository.objectStore.remote must name the folder, as \":s3:bucket/esm2_650m/v1\"" -}}
{{- end -}}
{{- if and (eq $v.repository.source "image") (not $v.repository.image.reference) -}}
{{- fail "repository.source is image, so repository.image.reference must name the image that holds the export" -}}
{{- end -}}
{{- if and (eq $v.repository.source "claim") (not $v.repository.claim.name) -}}
{{- fail "repository.source is claim, so repository.claim.name must name a PersistentVolumeClaim" -}}
{{- end -}}
{{- if and (eq $v.repository.source "objectStore") $v.repository.path -}}
{{- fail "repository.path is of a claim or an image; with repository.source=objectStore the version belongs into repository.objectStore.remote" -}}
{{- end -}}
{{- if and $v.tls.requireClients (not $v.tls.secret) -}}
{{- fail "tls.requireClients needs tls.secret, a Secret of type kubernetes.io/tls that has ca.crt too" -}}
{{- end -}}
{{- if and $v.resources (not (and $v.resources.requests $v.resources.limits)) -}}
{{- fail "resources must have both requests and limits, with cpu and memory; leave it empty to have them by model" -}}
{{- end -}}
{{- include "bionemo-ext.checkAmounts" (dict "resources" $v.resources "gateway.resources" $v.gateway.resources) -}}
{{- include "bionemo-ext.checkSizes" . -}}
{{- if and (eq (toString $v.rollingUpdate.maxSurge) "0") (eq (toString $v.rollingUpdate.maxUnavailable) "0") -}}
{{- fail "rollingUpdate.maxSurge and rollingUpdate.maxUnavailable are both 0, so no pod could be replaced: one of them must be 1 or more" -}}
{{- end -}}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas is %v, more than autoscaling.maxReplicas, %v" $v.autoscaling.minReplicas $v.autoscaling.maxReplicas) -}}
{{- end -}}
{{- if and (ne $v.autoscaling.kind "none") (eq $v.monitoring.monitor "none") -}}
{{- fail (printf "autoscaling.kind is %s, which reads metrics from Prometheus: set monitoring.monitor to pod or service" $v.autoscaling.kind) -}}
{{- end -}}
{{- if and (eq $v.autoscaling.kind "hpa") (not $v.monitoring.rules) -}}
{{- fail "autoscaling.kind is hpa, which reads what the rules record: set monitoring.rules to true" -}}
{{- end -}}
{{- if and (eq $v.autoscaling.kind "keda") (not $v.autoscaling.prometheusUrl) -}}
{{- fail "autoscaling.kind is keda, so autoscaling.prometheusUrl must be given, as http://prometheus-operated.monitoring:9090" -}}
{{- end -}}
{{- if and (ne $v.exposure.kind "none") (not (or $v.exposure.grpcHost $v.exposure.gatewayHost)) -}}
{{- fail (printf "exposure.kind is %s, so exposure.grpcHost or exposure.gatewayHost must be given" $v.exposure.kind) -}}
{{- end -}}
{{- if and (ne $v.exposure.kind "none") $v.exposure.gatewayHost (not $v.gateway.enabled) -}}
{{- fail "exposure.gatewayHost is given, but there is no gateway: set gateway.enabled to true" -}}
{{- end -}}
{{- if and (eq $v.exposure.kind "gatewayApi") (not $v.exposure.parent.name) -}}
{{- fail "exposure.kind is gatewayApi, so exposure.parent.name must name a Gateway" -}}
{{- end -}}
{{- if and (eq $v.exposure.kind "gatewayApi") $v.exposure.grpcHost $v.tls.secret -}}
{{- fail "exposure.grpcHost with exposure.kind=gatewayApi speaks plain gRPC to the pods: leave tls.secret empty, the Gateway has the certificate" -}}
{{- end -}}
{{- if and (ne $v.exposure.kind "none") $v.networkPolicy.enabled (not $v.networkPolicy.clients) -}}
{{- fail (printf "exposure.kind is %s, but networkPolicy lets only the release's own namespace in: name the proxy's in networkPolicy.clients" $v.exposure.kind) -}}
{{- end -}}
{{- if and $v.gateway.enabled $v.tls.secret (not $v.gateway.serverCa.secret) -}}
{{- fail "tls.secret is given, so gateway.serverCa.secret must tell the gateway whom to believe" -}}
{{- end -}}
{{- if and $v.gateway.enabled $v.tls.requireClients (not $v.gateway.clientCertificate.secret) -}}
{{- fail "tls.requireClients is true, so gateway.clientCertificate.secret must hold the gateway's certificate" -}}
{{- end -}}
{{- end -}}
