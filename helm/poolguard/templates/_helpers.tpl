{{- define "poolguard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "poolguard.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "poolguard.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "poolguard.selectorLabels" -}}
app.kubernetes.io/name: {{ include "poolguard.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "poolguard.labels" -}}
{{ include "poolguard.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: connection-guard
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "poolguard.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "poolguard.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "poolguard.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The port of a listener. Call with (dict "context" . "listener" "metrics" "default" 9127). */ -}}
{{- define "poolguard.port" -}}
{{- $port := dig "listen" .listener "port" .default .context.Values.settings -}}
{{- if kindIs "string" $port -}}
{{- fail (printf "settings.listen.%s.port must be a number here: probes and Services are made from it" .listener) -}}
{{- end -}}
{{- int $port -}}
{{- end -}}

{{- /* settings.limits.drain_timeout in seconds, rounded down; 0 where it is filled in later, as ${DRAIN}. */ -}}
{{- define "poolguard.drainSeconds" -}}
{{- $text := dig "limits" "drain_timeout" "25s" .Values.settings -}}
{{- $seconds := 0 -}}
{{- if regexMatch "^([0-9.]+(ms|s|m|h|d))+$" $text -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h|d)" $text -1 -}}
{{- $unit := get (dict "ms" 0.001 "s" 1 "m" 60 "h" 3600 "d" 86400) (regexFind "[a-z]+$" .) -}}
{{- $seconds = addf $seconds (mulf (regexFind "^[0-9.]+" . | float64) $unit) -}}
{{- end -}}
{{- end -}}
{{- int $seconds -}}
{{- end -}}

{{- define "poolguard.clientsPort" -}}
{{- include "poolguard.port" (dict "context" . "listener" "clients" "default" 6432) -}}
{{- end -}}

{{- define "poolguard.metricsPort" -}}
{{- include "poolguard.port" (dict "context" . "listener" "metrics" "default" 9127) -}}
{{- end -}}

{{- define "poolguard.controlPort" -}}
{{- include "poolguard.port" (dict "context" . "listener" "control" "default" 6433) -}}
{{- end -}}

{{- /* "true" if leases and admin listen where another pod can reach them; else nothing. */ -}}
{{- define "poolguard.controlIsOpen" -}}
{{- if not (has (dig "listen" "control" "host" "127.0.0.1" .Values.settings) (list "127.0.0.1" "localhost" "::1")) -}}
true
{{- end -}}
{{- end -}}

{{- /* What would only fail in the pod fails here, with what to set. */ -}}
{{- define "poolguard.validate" -}}
{{- $url := dig "upstream" "url" "" .Values.settings -}}
{{- if and (not .Values.upstream.secretName) (not $url) -}}
{{- fail "upstream.secretName is empty: name the Secret whose key (upstream.secretKey) holds PostgreSQL's URI" -}}
{{- end -}}
{{- if and (not .Values.upstream.secretName) (regexMatch "://[^/@]*:[^/@]*@" $url) -}}
{{- fail "settings.upstream.url holds a password, and would stand in a ConfigMap: put it into a Secret, upstream.secretName" -}}
{{- end -}}
{{- if eq .Values.mode "deployment" -}}
{{- if not (dig "auth" "users" dict .Values.settings) -}}
{{- if not .Values.clients.usersSecret -}}
{{- fail "clients.usersSecret is empty: poolguard behind a Service asks its clients for a password; name the Secret that holds them" -}}
{{- end -}}
{{- if not .Values.clients.users -}}
{{- fail "clients.users is empty: list the keys of clients.usersSecret, which are the users' names" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* poolguard.yaml: what the mode needs, with .Values.settings laid over it. */ -}}
{{- define "poolguard.settings" -}}
{{- $base := dict -}}
{{- if eq .Values.mode "deployment" -}}
{{- $_ := set $base "listen" (dict "clients" (dict "host" "0.0.0.0")) -}}
{{- $users := dict -}}
{{- range .Values.clients.users -}}
{{- $_ := set $users . (dict "password_file" (printf "/run/secrets/poolguard/users/%s" .)) -}}
{{- end -}}
{{- $_ := set $base "auth" (dict "method" "scram-sha-256" "users" $users) -}}
{{- end -}}
{{- if .Values.kubernetesEvents.enabled -}}
{{- $_ := set $base "incidents" (dict "kubernetes" (dict "enabled" true)) -}}
{{- end -}}
{{- mergeOverwrite $base (deepCopy .Values.settings) | toYaml -}}
{{- end -}}
