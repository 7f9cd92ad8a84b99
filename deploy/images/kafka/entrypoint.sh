#!/bin/bash
# Writes server.properties from the environment, formats the storage once, then runs the broker.
#
# KAFKA_<NAME>     a property: lower case, `_` is a dot, `__` an underscore, `___` a dash;
#                  KAFKA_AUTO_CREATE_TOPICS_ENABLE=false is auto.create.topics.enable=false
# CLUSTER_ID       22 characters of URL-safe base64; a new one is made unless told
# KAFKA_HEAP_OPTS  the heap; "-Xms256m -Xmx512m" unless told
set -euo pipefail

properties=$(mktemp -t server.properties.XXXXXX)

property_name() {
  local name=${1#KAFKA_}
  name=${name,,}
  name=${name//___/-}
  name=${name//__/$'\x1f'}
  name=${name//_/.}
  printf '%s' "${name//$'\x1f'/_}"
}

write_properties() {
  local variable
  while IFS= read -r variable; do
    case $variable in
      KAFKA_HEAP_OPTS | KAFKA_OPTS) ;;
      *) printf '%s=%s\n' "$(property_name "$variable")" "${!variable}" >>"$properties" ;;
    esac
  done < <(compgen -e | grep '^KAFKA_')
}

format_storage() {
  local standalone=(--standalone)
  ! grep -q '^controller\.quorum\.voters=' "$properties" || standalone=()
  : "${CLUSTER_ID:=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')}"
  java -cp '/opt/kafka/jars/*' kafka.tools.StorageTool format "${standalone[@]}" \
    --cluster-id="$CLUSTER_ID" --config "$properties"
}

if [[ -z ${KAFKA_PROCESS_ROLES:-} || -z ${KAFKA_LOG_DIRS:-} ]]; then
  echo "KAFKA_PROCESS_ROLES or KAFKA_LOG_DIRS is missing: give every property as KAFKA_<NAME>" >&2
  exit 1
fi
write_properties
[[ -f ${KAFKA_LOG_DIRS%%,*}/meta.properties ]] || format_storage
read -ra options <<<"${KAFKA_HEAP_OPTS:--Xms256m -Xmx512m} ${KAFKA_OPTS:-}"
exec java "${options[@]}" -XX:+UseSerialGC \
  -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties \
  -cp '/opt/kafka/jars/*' kafka.Kafka "$properties"
