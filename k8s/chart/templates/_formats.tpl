{{/*
How values of text are written. values.schema.json tells types, choices and limits; a pattern there would be
shown to the user as it is, so formats are told here, in words.
*/}}
{{- define "bionemo-ext.kinds" -}}
quantity:
  pattern: ^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti)$
  words: an amount of bytes such as 20Gi
name:
  pattern: ^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$
  words: the name of an object, of lower-case letters, digits, '-' and '.',
entry:
  pattern: ^[A-Za-z0-9._-]+$
  words: the name of an entry of the Secret, of letters, digits, '.', '_' and '-',
repository:
  pattern: ^[^\s:@]+(:[0-9]+/[^\s:@]+)?$
  words: an image without tag and digest, which have values of their own,
digest:
  pattern: ^sha256:[0-9a-f]{64}$
  words: "sha256: and 64 hexadecimal digits"
tag:
  pattern: ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$
  words: a version
pinned:
  pattern: ^[^\s@]+(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$
  words: an image with its version or digest
path:
  pattern: ^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$
  words: a relative path of letters, digits, '_', '.', '-' and '/'
remote:
  pattern: ^:?[A-Za-z0-9_-]+(,[^:]*)?:.+$
  words: a folder as rclone writes it, such as ":s3:bucket/esm2_650m/v1",
host:
  pattern: ^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$
  words: the name of a host, such as esm2.example.org,
url:
  pattern: ^https?://\S+$
  words: an address that begins with http:// or https://
interval:
  pattern: ^[0-9]+(ms|s|m)$
  words: a time such as 15s
{{- end -}}

{{- define "bionemo-ext.formats" -}}
quantity: [sharedMemory, repository.newClaim.size, repository.objectStore.size]
name:
  - repository.claim.name
  - repository.newClaim.name
  - repository.newClaim.storageClass
  - repository.objectStore.secret
  - tls.secret
  - adminKey.secret
  - priorityClassName
  - runtimeClassName
  - exposure.tlsSecret
  - exposure.className
  - exposure.parent.name
  - exposure.parent.namespace
  - exposure.parent.sectionName
  - gateway.token.secret
  - gateway.serverCa.secret
  - gateway.clientCertificate.secret
entry: [adminKey.entry, gateway.token.entry, gateway.serverCa.entry]
repository: [image.repository, gateway.image.repository]
digest: [image.digest, gateway.image.digest]
tag: [image.tag, gateway.image.tag]
pinned: [repository.objectStore.image, repository.image.reference]
path: [repository.path]
remote: [repository.objectStore.remote]
host: [exposure.grpcHost, exposure.gatewayHost]
url: [autoscaling.prometheusUrl]
interval: [monitoring.interval]
{{- end -}}

{{/* Refuse the first value that is written in another way; what may be left empty may be empty. */}}
{{- define "bionemo-ext.checkFormats" -}}
{{- $kinds := include "bionemo-ext.kinds" . | fromYaml -}}
{{- range $kind, $paths := include "bionemo-ext.formats" . | fromYaml -}}
{{- range $path := $paths -}}
{{- $value := $.Values -}}
{{- range splitList "." $path -}}{{- $value = index $value . -}}{{- end -}}
{{- $expected := index $kinds $kind -}}
{{- if and $value (not (regexMatch $expected.pattern $value)) -}}
{{- fail (printf "%s is '%s', but %s is needed" $path $value $expected.words) -}}
{{- end -}}
{{- if and $value (has $kind (list "tag" "pinned")) (regexMatch "(^|:)latest$" $value) -}}
{{- fail (printf "%s is '%s', which does not say what runs and cannot be rolled back: name a version or a digest" $path $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuse cores and bytes that are written in another way: a dict of resources by the value's name. */}}
{{- define "bionemo-ext.checkAmounts" -}}
{{- $kinds := include "bionemo-ext.kinds" . | fromYaml -}}
{{- range $path, $resources := . -}}
{{- range $kind := list "requests" "limits" -}}
{{- $amounts := index ($resources | default dict) $kind | default dict -}}
{{- if and $amounts.cpu (not (regexMatch "^([0-9]+m|[0-9]+(\\.[0-9]+)?)$" (toString $amounts.cpu))) -}}
{{- fail (printf "%s.%s.cpu is '%v', but cores such as 4 or 500m are needed" $path $kind $amounts.cpu) -}}
{{- end -}}
{{- if and $amounts.memory (not (regexMatch $kinds.quantity.pattern (toString $amounts.memory))) -}}
{{- fail (printf "%s.%s.memory is '%v', but %s is needed" $path $kind $amounts.memory $kinds.quantity.words) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
