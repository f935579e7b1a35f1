{{- /*
For somebody's pod. With this chart as a dependency (docs/deploy.md has the whole of it):

  spec:
    initContainers:
      {{- include "poolguard.sidecar.native" .Subcharts.poolguard | nindent 6 }}
    volumes:
      {{- include "poolguard.sidecar.volumes" .Subcharts.poolguard | nindent 6 }}
*/ -}}

{{- /* A native sidecar: starts before the application, is stopped after it. For spec.initContainers, first of all. */ -}}
{{- define "poolguard.sidecar.native" -}}
{{- $container := include "poolguard.container" (dict "context" . "readiness" .Values.sidecar.gateReadiness) | fromYaml -}}
{{- $_ := set $container "restartPolicy" "Always" -}}
{{- list $container | toYaml -}}
{{- end -}}

{{- /* A plain container, for clusters without native sidecars. For spec.containers. */ -}}
{{- define "poolguard.sidecar.plain" -}}
{{- $facts := dict "context" . "readiness" .Values.sidecar.gateReadiness "preStopSeconds" .Values.sidecar.preStopSeconds -}}
{{- $container := include "poolguard.container" $facts | fromYaml -}}
{{- list $container | toYaml -}}
{{- end -}}

{{- define "poolguard.sidecar.volumes" -}}
{{- include "poolguard.validate" . -}}
- name: poolguard-settings
  configMap:
    name: {{ include "poolguard.fullname" . }}
{{- if and (eq .Values.mode "deployment") .Values.clients.usersSecret }}
- name: poolguard-users
  secret:
    secretName: {{ .Values.clients.usersSecret }}
    # Readable for the group that fsGroup gives to the pod.
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The container itself: (dict "context" . "readiness" bool "preStopSeconds" number). */ -}}
{{- define "poolguard.container" -}}
{{- $ := .context -}}
name: poolguard
image: {{ include "poolguard.image" $ | quote }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
args: [run]
env:
  # Not an argument, so that `kubectl exec ... poolguard health` and `check-config` read the same file.
  - name: POOLGUARD_CONFIG
    value: /etc/poolguard/poolguard.yaml
  {{- with $.Values.upstream.secretName }}
  - name: DATABASE_URL
    valueFrom:
      secretKeyRef:
        name: {{ . }}
        key: {{ $.Values.upstream.secretKey }}
  {{- end }}
  {{- with $.Values.adminToken.secretName }}
  - name: POOLGUARD_ADMIN_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ . }}
        key: {{ $.Values.adminToken.secretKey }}
  {{- end }}
  {{- if $.Values.kubernetesEvents.enabled }}
  # Which pod the Events are about.
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - name: POD_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  - name: POD_UID
    valueFrom: {fieldRef: {fieldPath: metadata.uid}}
  {{- end }}
  {{- with $.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: pg-clients
    containerPort: {{ include "poolguard.clientsPort" $ }}
  - name: pg-metrics
    containerPort: {{ include "poolguard.metricsPort" $ }}
  {{- if include "poolguard.controlIsOpen" $ }}
  - name: pg-control
    containerPort: {{ include "poolguard.controlPort" $ }}
  {{- end }}
# An application that starts after it finds a poolguard that listens.
startupProbe:
  httpGet: {path: /startupz, port: pg-metrics}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: pg-metrics}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- if .readiness }}
readinessProbe:
  httpGet: {path: /readyz, port: pg-metrics}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end }}
{{- if and .preStopSeconds (semverCompare ">=1.30-0" $.Capabilities.KubeVersion.Version) }}
lifecycle:
  preStop:
    sleep: {seconds: {{ int .preStopSeconds }}}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
resources:
  {{- toYaml $.Values.resources | nindent 2 }}
volumeMounts:
  # The folder, never a subPath: a file mounted by subPath does not change when the ConfigMap does.
  - name: poolguard-settings
    mountPath: /etc/poolguard
    readOnly: true
  {{- if and (eq $.Values.mode "deployment") $.Values.clients.usersSecret }}
  - name: poolguard-users
    mountPath: /run/secrets/poolguard/users
    readOnly: true
  {{- end }}
  {{- with $.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
