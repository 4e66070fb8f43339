# The six hosts of the mirrors' lab and their daemons. Sourced by mirrors.sh.

# Go programs reach the public registries by this proxy, whose authority they
# trust; they never ask a proxy for 127.0.0.1, where the mirrors are.
node_env() {
  local web="http://127.0.0.1:$P_UPSTREAM"
  NODE_ENV=(HTTP_PROXY="$web" HTTPS_PROXY="$web" http_proxy= https_proxy= no_proxy= NO_PROXY= SSL_CERT_FILE="$PKI/ca.pem" SSL_CERT_DIR=/nowhere)
}
is_engine() { [[ " ${ENGINES[*]} " == *" $1 "* ]]; }

# ---- files of the start state -----------------------------------------------
node_start_files() {   # node_start_files NODE FOLDER: writes them there
  local node="$1" at="$2"
  mkdir -p "$at"
  case "$node" in
    node-1) mkdir -p "$at/docker/certs.d" ;;
    # Somebody's own indentation, and no line break at the end.
    node-2) mkdir -p "$at/docker/certs.d"
            printf '{\n   "max-concurrent-downloads":  3,\n "labels": [ "rack=2",\n             "owner=kim" ],\n\t"log-opts": {"max-size" : "10m"}\n}' > "$at/docker/daemon.json" ;;
    node-3) mkdir -p "$at/docker/certs.d"
            printf '{\n  "live-restore": true,\n  "registry-mirrors": ["http://127.0.0.1:%s"],\n  "shutdown-timeout": 5\n}\n' "$P_GONE" > "$at/docker/daemon.json" ;;
    node-4) runtime_config "$node" '# the upgrade of 2022 wrote this file' > "$at/config.toml" ;;
    node-5) mkdir -p "$at/certs.d"
            runtime_config "$node" "
[plugins.\"io.containerd.grpc.v1.cri\".registry]
  config_path = \"$STATE/$node/certs.d\"" > "$at/config.toml" ;;
    node-6) mkdir -p "$at/home/.config/containers/registries.conf.d"
            printf 'unqualified-search-registries = ["docker.io"]\n' > "$at/home/.config/containers/registries.conf" ;;
  esac
}
runtime_config() {
  cat <<TOML
version = 2
root = "$STATE/$1/root"
state = "$SHORT/$1/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "$SHORT/$1/containerd.sock"
$2
TOML
}
# The paths of a node that castoff may write to.
node_paths() {
  case "$1" in
    node-[123]) echo docker ;;
    node-[45]) echo config.toml certs.d ;;
    node-6) echo home/.config ;;
  esac
}
# node_files NODE: gives back the start files; 0 if something was otherwise.
# A Docker Engine may write a key of its own into its folder.
node_files() {
  local node="$1" path changed=1
  for path in $(node_paths "$node"); do
    diff -qr -x key.json "$STATE/$node.start/$path" "$STATE/$node/$path" >/dev/null 2>&1 && continue
    [ -e "$STATE/$node.start/$path" ] || [ -e "$STATE/$node/$path" ] || continue
    changed=0
    # The folder of an Engine is bound into its view: emptied, never replaced.
    if [ -d "$STATE/$node/$path" ] && [ -d "$STATE/$node.start/$path" ]; then
      find "$STATE/$node/$path" -mindepth 1 -delete
      cp -a "$STATE/$node.start/$path/." "$STATE/$node/$path/"
    else
      rm -rf "${STATE:?}/$node/$path"
      [ ! -e "$STATE/$node.start/$path" ] || cp -a "$STATE/$node.start/$path" "$STATE/$node/$path"
    fi
  done
  return "$changed"
}
node_wrapper() {   # node_wrapper FILE WORD…: a script that runs these words with the node's environment
  local file="$1"; shift
  { printf '#!/bin/sh\n# Written by lab/up.\nexec env'; printf " '%s'" "$@"; printf ' "$@"\n'; } > "$file.new"
  chmod 755 "$file.new"; mv "$file.new" "$file"
}
nodes_prepare() {
  local node dir
  for node in "${ENGINES[@]}" "${RUNTIMES[@]}" "$PODMAN"; do
    dir="$STATE/$node"
    mkdir -p "$dir"
    [ -d "$dir.start" ] || { node_start_files "$node" "$dir.start"; cp -a "$dir.start/." "$dir/"; }
  done
  for node in "${RUNTIMES[@]}"; do
    node_wrapper "$STATE/$node/ctr" "${NODE_ENV[@]}" "CONTAINERD_ADDRESS=$SHORT/$node/containerd.sock" ctr
  done
  dir="$STATE/$PODMAN"
  node_wrapper "$dir/podman" -u CONTAINERS_REGISTRIES_CONF -u CONTAINERS_CONF -u XDG_CONFIG_HOME -u XDG_RUNTIME_DIR -u CONTAINER_HOST \
    "${NODE_ENV[@]}" "HOME=$dir/home" "REGISTRY_AUTH_FILE=$dir/auth.json" podman "--root=$dir/root" "--runroot=$SHORT/$PODMAN/runroot" \
    "--tmpdir=$SHORT/$PODMAN/tmp" --storage-driver=vfs --events-backend=none
}

# ---- daemons ------------------------------------------------------------------
# The place where a Docker Engine looks for certificates is built in, and node-1
# has no --config-file, as most hosts: so each Engine gets its own folder as
# /etc/docker, in a view of the files that a keeper holds for it.
engine_view() {
  local node="$1"
  is_up "$node.view" && return 0
  mkdir -p /etc/docker
  launch "$node.view" unshare --mount --propagation private sh -c 'mount --bind "$0" /etc/docker && exec sleep infinity' "$STATE/$node/docker"
  until_ready "$node.view" 10 sh -c "tr '\0' ' ' < /proc/$(cut -d' ' -f1 "$STATE/run/$node.view")/cmdline | grep -q '^sleep infinity'"
}
node_launch() {
  local node="$1" dir="$STATE/$1" config=()
  if is_engine "$node"; then
    engine_view "$node"
    mkdir -p "$STATE/docker-config"
    engine_leftovers "$node"
    [ "$node" = node-1 ] || config=(--config-file "$dir/docker/daemon.json")
    launch "$node" nsenter "--mount=/proc/$(pid_of "$node.view")/ns/mnt" env "${NODE_ENV[@]}" \
      dockerd "${config[@]}" --data-root "$dir/data" --exec-root "$SHORT/$node/exec" --pidfile "$dir/docker.pid" \
      -H "unix://$SHORT/$node/docker.sock" --storage-driver=overlay2 --bridge=none --iptables=false --ip6tables=false
  else
    launch "$node" env "${NODE_ENV[@]}" containerd --config "$dir/config.toml"
  fi
}
node_ready() {
  if is_engine "$1"; then docker_on "$1" version; else "$SHORT/$1/ctr" version; fi
}
nodes_up() {
  local node started=()
  for node in "${ENGINES[@]}" "${RUNTIMES[@]}"; do
    wake "$node"
    is_up "$node" || { node_launch "$node"; started+=("$node"); }
  done
  for node in "${started[@]}"; do until_ready "$node" 60 node_ready "$node"; done
  is_engine_restored node-2 || return 0
  docker_on node-2 start exporter >/dev/null
}
is_engine_restored() { [ -n "$(docker_on "$1" ps -aq --filter name=exporter --filter status=exited 2>/dev/null)" ]; }
nodes_down() {
  local node
  for node in "${ENGINES[@]}"; do
    if ! is_up "$node" && engine_remains "$node"; then
      node_launch "$node"; until_ready "$node" 60 docker_on "$node" version
    fi
    # With live-restore its containers would outlive it.
    ! is_up "$node" || docker_on "$node" ps -q | xargs -r docker -H "unix://$SHORT/$node/docker.sock" kill >/dev/null 2>&1 || true
    { end_part "$node" TERM 30; end_part "$node.view"; } &
  done
  for node in "${RUNTIMES[@]}"; do end_part "$node" & done
  wait
}

# engine_api NODE METHOD PATH: a tenth of what the docker client takes.
engine_api() { curl -sS --noproxy '*' --max-time 20 --unix-socket "$SHORT/$1/docker.sock" -X "$2" "http://docker$3"; }

# What an Engine says of itself that its file can change.
engine_says() {
  engine_api "$1" GET /info | grep -oE '"(LiveRestoreEnabled|Debug)":[a-z]+|"Labels":(null|\[[^]]*\])|"RegistryConfig":.*"Mirrors":[^]]*\]' || true
}
node_restore() {
  local node="$1" changed=no known unwanted
  ! node_files "$node" || changed=yes
  if [ "$node" = "$PODMAN" ]; then
    echo '{}' > "$STATE/$node/auth.json"
    # Only where something was pulled: its list of images is no empty one.
    ! grep -q '"id"' "$STATE/$node/root/vfs-images/images.json" 2>/dev/null || "$STATE/$node/podman" image prune -af >/dev/null
    return 0
  fi
  wake "$node"
  if is_engine "$node"; then
    known="$STATE/$node.says"
    if is_up "$node"; then
      [ "$changed" = no ] && { [ ! -f "$known" ] || [ "$(engine_says "$node")" = "$(cat "$known")" ]; } || end_part "$node" TERM 20
    fi
  else
    # What a broken pull left half written is taken up by the next one.
    local half="$STATE/$node/root/io.containerd.content.v1.content/ingest"
    if [ "$changed" = yes ] || [ -n "$(ls -A "$half" 2>/dev/null)" ]; then end_part "$node"; rm -rf "$half"; fi
  fi
  if ! is_up "$node"; then node_launch "$node"; until_ready "$node" 60 node_ready "$node"; fi
  if is_engine "$node"; then
    [ -f "$known" ] || engine_says "$node" > "$known"
    unwanted=$(engine_api "$node" GET '/containers/json?all=1' | grep -oE '"Id":"[0-9a-f]{64}"' | cut -d'"' -f4 |
      grep -vxF "$(cat "$STATE/$node.exporter" 2>/dev/null || echo none)" || true)
    [ -z "$unwanted" ] || docker_on "$node" rm -f $unwanted >/dev/null
    unwanted=$(engine_api "$node" GET /images/json | grep -oE '"Id":"sha256:[0-9a-f]{64}"' | cut -d'"' -f4 |
      grep -vxF "$(cat "$STATE/exporter.id")" || true)
    [ -z "$unwanted" ] || docker_on "$node" rmi -f $unwanted >/dev/null
    [ "$node" != node-2 ] || exporter_run "$node"
  else
    local space
    for space in default k8s.io; do
      "$SHORT/$node/ctr" -n "$space" images ls -q | sort | xargs -r "$SHORT/$node/ctr" -n "$space" images rm --sync >/dev/null 2>&1
    done
  fi
}
# An own container, which stops if the Engine does.
exporter_run() {
  local id
  if engine_api "$1" GET '/containers/json' | grep -q '"Names":\["/exporter"\]'; then return 0; fi
  id=$(docker_on "$1" ps -aq --no-trunc --filter name=exporter)
  if [ -z "$id" ]; then
    docker_on "$1" load -q -i "$STATE/exporter.tar" >/dev/null
    id=$(docker_on "$1" run -d --name exporter --net=none registry.example.com/tools/exporter:1 exporter)
  fi
  printf '%s\n' "$id" > "$STATE/$1.exporter"
  docker_on "$1" start exporter >/dev/null
}
nodes_restore() {
  local node jobs=() job
  for node in "${ENGINES[@]}" "${RUNTIMES[@]}" "$PODMAN"; do node_restore "$node" & jobs+=($!); done
  for job in "${jobs[@]}"; do wait "$job"; done
}
