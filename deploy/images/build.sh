#!/bin/bash
# Builds the images of the tests and of the services without pulling any, and runs a Docker daemon
# of one's own where none is running.
#
#   build.sh [base|postgres|kafka|service ...]   build these images; all of them unless told
#   build.sh start-docker FOLDER                 start a daemon with everything it has in FOLDER;
#                                                prints DOCKER_HOST=unix://FOLDER/docker.sock
#   build.sh stop-docker FOLDER                  end that daemon and the containers in it
#
# The images:
#
#   perennial/base:local       Debian with Java, PostgreSQL and Python, by debootstrap
#   perennial/postgres:local   takes the environment of the official postgres image
#   perennial/kafka:local      takes the environment of the public apache/kafka image
#   perennial/service:local    all services of this checkout; the command says which one runs
#
# It needs root, Debian or a relative of it, the packages docker.io and debootstrap, and the
# environment that `make` lays (.venv). It installs nothing on the machine. Debian's packages, Maven
# artifacts and wheels come from where this machine's apt, Maven client and pip are set up to get
# them; what was fetched is kept in .perennial of the checkout.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$root/.perennial/images
python=$root/.venv/bin/python
base_packages=ca-certificates,default-jre-headless,postgresql,python3,python3-pip,python3-venv

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

usage() {
  sed -n '/^#   build\.sh/,/^#$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

# need COMMAND PACKAGE
need() {
  command -v "$1" >/dev/null ||
    fail "$1 is missing: apt-get install --no-install-recommends $2"
}

need_daemon() {
  need docker docker.io
  docker version >/dev/null 2>&1 ||
    fail "no Docker daemon answers: run '$0 start-docker FOLDER' and export the DOCKER_HOST it prints"
}

need_environment() {
  [[ -x $python ]] || fail "$python is missing: run 'make .venv/.run' in $root"
}

# --- base --------------------------------------------------------------------------------------

codename() {
  sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
}

# The address that apt takes the main packages of this release from.
mirror() {
  apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' \
    "Codename: $(codename)" 'Component: main' | head -n 1
}

# Where the root file system for these packages of this release is kept.
base_archive() {
  local key
  key=$(printf '%s %s' "$(codename)" "$base_packages" | sha256sum | cut -c 1-12)
  printf '%s/base-%s.tar' "$cache" "$key"
}

make_base_archive() {
  local archive=$1 address folder
  need debootstrap debootstrap
  [[ $EUID -eq 0 ]] || fail "debootstrap needs root: run this as root"
  address=$(mirror)
  [[ -n $address ]] || fail "apt knows no packages of '$(codename)': run apt-get update"
  mkdir -p "$cache"
  folder=$(mktemp -d "$cache/base.XXXXXX")
  # shellcheck disable=SC2064 # the folder of now, not of then
  trap "umount -q '$folder/proc' '$folder/sys' || true; rm -rf --one-file-system '$folder'" EXIT
  echo "making the base: two minutes, once; debootstrap's words are in $cache/debootstrap.log"
  debootstrap --variant=minbase --include="$base_packages" "$(codename)" "$folder" "$address" \
    >"$cache/debootstrap.log" 2>&1 || fail "debootstrap failed: $(tail -n 3 "$cache/debootstrap.log")"
  tar -C "$folder" --one-file-system --exclude='./var/cache/apt/archives/*.deb' \
    --exclude='./var/lib/apt/lists/*' --exclude='./var/lib/postgresql/*' \
    --exclude='./etc/apt/sources.list' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
    -cf "$archive.part" .
  mv "$archive.part" "$archive"
  rm -rf --one-file-system "$folder"
  trap - EXIT
}

build_base() {
  local archive label
  archive=$(base_archive)
  label=$(basename "$archive" .tar)
  [[ -f $archive ]] || make_base_archive "$archive"
  if [[ $(docker image inspect -f '{{.Config.Labels.base}}' perennial/base:local 2>&1) != "$label" ]]; then
    docker import --change "LABEL base=$label" --change 'ENV LANG=C.UTF-8' "$archive" \
      perennial/base:local >/dev/null
  fi
}

# --- the images on top of it ---------------------------------------------------------------------

# build_image NAME CONTEXT [OPTION ...]
build_image() {
  local name=$1 context=$2
  shift 2
  # The classic builder needs no plug-in; its network is off because everything is in the context.
  DOCKER_BUILDKIT=0 docker build --quiet --network none --build-arg BASE=perennial/base:local \
    --tag "perennial/$name:local" "$@" "$context" >"$cache/$name.log" 2>&1 ||
    fail "perennial/$name:local was not built: $(cat "$cache/$name.log")"
}

build_postgres() {
  build_image postgres "$here/postgres"
}

build_kafka() {
  local context=$cache/kafka
  need_environment
  rm -rf "$context"
  mkdir -p "$context/jars"
  cp "$here"/kafka/* "$context"
  (cd "$root" && "$python" - "$context/jars" <<'PYTHON'
import shutil
import sys

from deploy.local.folder import JAR_CACHE
from deploy.local.servers.kafka import fetch_jars

for jar in fetch_jars(JAR_CACHE):
    shutil.copy(jar, sys.argv[1])
PYTHON
  ) || fail "the broker's artifacts could not be fetched; see above"
  build_image kafka "$context"
}

# The options that make pip choose wheels for the base and not for this machine.
pip_target() {
  local version libc minor
  read -r version libc < <(docker run --rm --network none perennial/base:local python3 -c \
    'import platform, sys; print("%d.%d" % sys.version_info[:2], platform.libc_ver()[1])')
  printf -- '--implementation cp --python-version %s --only-binary :all:' "$version"
  for ((minor = ${libc#2.}; minor >= 5; minor--)); do
    printf -- ' --platform manylinux_2_%d_%s' "$minor" "$(uname -m)"
  done
  printf '\n'
}

build_service() {
  local context=$cache/service left_out target
  need_environment
  rm -rf "$context/services" "$context/schemas" "$context/deploy"
  mkdir -p "$context/deploy/images" "$context/wheels"
  cp "$root/requirements.lock" "$context"
  cp -r "$root/services" "$root/schemas" "$context"
  cp -r "$here/service" "$context/deploy/images"
  find "$context/services" "$context/schemas" -name __pycache__ -prune -exec rm -rf {} +
  left_out=$(sed -n 's/^ARG LEFT_OUT="\(.*\)"$/\1/p' "$here/service/Dockerfile")
  awk -v names="$left_out" -f "$here/service/without.awk" "$root/requirements.lock" >"$cache/service.lock"
  read -ra target < <(pip_target)
  "$python" -m pip download --quiet --require-hashes --no-deps "${target[@]}" \
    -r "$cache/service.lock" -d "$context/wheels" || fail "the wheels could not be fetched; see above"
  build_image service "$context" --file "$context/deploy/images/service/Dockerfile" \
    --build-arg PIP_OPTIONS='--no-index --find-links=wheels'
}

# --- a daemon of one's own -------------------------------------------------------------------------

# daemon_id FOLDER: prints the process id of its daemon, or nothing
daemon_id() {
  local pid
  pid=$(cat "$1/docker.pid" 2>/dev/null) || return 0
  if [[ -r /proc/$pid/cmdline ]] && tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "--pidfile=$1/docker.pid"; then
    printf '%s' "$pid"
  fi
}

start_docker() {
  local folder
  need dockerd docker.io
  need docker docker.io
  [[ $EUID -eq 0 ]] || fail "dockerd needs root: run this as root"
  mkdir -p "$1"
  folder=$(cd "$1" && pwd)
  ((${#folder} <= 60)) || fail "$folder is too long a name for its sockets: choose a shorter folder"
  if [[ -z $(daemon_id "$folder") ]]; then
    rm -f "$folder/docker.pid"
    [[ -e /sys/class/net/docker0 ]] || touch "$folder/made-bridge"
    # Published ports go through docker-proxy, so that the machine's firewall is left as it is.
    setsid nohup dockerd --data-root="$folder/data" --exec-root="$folder/run" \
      --pidfile="$folder/docker.pid" --host="unix://$folder/docker.sock" --iptables=false \
      --ip-forward=false </dev/null >"$folder/docker.log" 2>&1 &
  fi
  for ((tries = 0; tries < 120; tries++)); do
    if DOCKER_HOST=unix://$folder/docker.sock docker version >/dev/null 2>&1; then
      echo "DOCKER_HOST=unix://$folder/docker.sock"
      return
    fi
    sleep 0.25
  done
  fail "dockerd did not answer within 30 s: $(tail -n 3 "$folder/docker.log")"
}

stop_docker() {
  local folder pid
  folder=$(cd "$1" && pwd) || fail "there is no folder $1"
  pid=$(daemon_id "$folder")
  if [[ -n $pid ]]; then
    kill "$pid"
    for ((tries = 0; tries < 120; tries++)); do
      [[ -e /proc/$pid ]] || break
      sleep 0.25
    done
    [[ ! -e /proc/$pid ]] || fail "dockerd, process $pid, is still stopping its containers: wait for it"
  fi
  awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | xargs -r umount
  if [[ -e $folder/made-bridge ]]; then
    ip link delete docker0 2>/dev/null || true
    rm "$folder/made-bridge"
  fi
}

# --- command line --------------------------------------------------------------------------------

case ${1:-} in
  -h | --help)
    usage
    exit
    ;;
  start-docker | stop-docker)
    [[ $# -eq 2 ]] || fail "$1 needs one folder"
    "${1/-/_}" "$2"
    exit
    ;;
esac

[[ $# -gt 0 ]] || set -- base postgres kafka service
for image in "$@"; do
  case $image in
    base | postgres | kafka | service) ;;
    *) fail "there is no image '$image'; see $0 --help" ;;
  esac
done
need_daemon
build_base
for image in "$@"; do
  started=$SECONDS
  "build_$image" >/dev/null
  echo "perennial/$image:local, $((SECONDS - started)) s"
done
