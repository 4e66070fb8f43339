# Three Docker engines: the cluster's agents. Sourced.

# Sockets may have 107 characters at most, podman's --runroot 50. In a checkout
# far down the tree a short link in /tmp stands for the lab's folder; lab.conf
# remembers it.
short_place() {
  if [ -z "$SHORT" ]; then
    local most=60
    [ "$KIND" != mirrors ] || most=35
    SHORT="$STATE"
    [ "${#STATE}" -le "$most" ] || SHORT="/tmp/castoff-lab-$(printf %s "$STATE" | cksum | cut -d' ' -f1)"
  fi
  [ "$SHORT" = "$STATE" ] || ln -sfn "$STATE" "$SHORT"
  # The manager resolves links before it makes its sockets: it needs a folder.
  IPC="$STATE/manager/ipc"
  [ "$SHORT" = "$STATE" ] || IPC="$SHORT.ipc"
  [ "$KIND" = mirrors ] || mkdir -p "$IPC"
}

# docker_on ENGINE ARGUMENTS…: without the caller's contexts and logins.
docker_on() {
  local engine="$1"; shift
  env -u DOCKER_HOST -u DOCKER_CONTEXT DOCKER_CONFIG="$STATE/docker-config" \
    docker -H "unix://$SHORT/$engine/docker.sock" "$@"
}

engine_launch() {
  local engine="$1" dir="$STATE/$1"
  mkdir -p "$dir" "$STATE/docker-config"
  [ -f "$dir/daemon.json" ] || printf '{\n  "max-concurrent-downloads": 3\n}\n' > "$dir/daemon.json"
  # After a kill -9 its containerd lives on or leaves its pid file and sockets
  # behind; the next start would wait half a minute for them.
  engine_leftovers "$engine"
  # The façade is the engine's proxy: it answers for cr.backend.ai and refuses
  # everything else, so no engine of the lab reaches a registry outside.
  launch "$engine" env HTTP_PROXY="http://127.0.0.1:$P_FACADE" HTTPS_PROXY="http://127.0.0.1:$P_FACADE" NO_PROXY= \
    dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$SHORT/$engine/exec" \
    --pidfile "$dir/docker.pid" -H "unix://$SHORT/$engine/docker.sock" --storage-driver=overlay2 \
    --bridge=none --iptables=false --ip6tables=false \
    --insecure-registry 127.0.0.0/8 --insecure-registry cr.backend.ai \
    --registry-mirror "http://127.0.0.1:$P_HUB"
}

# The engine's own containerd, by the pid file in its exec-root; only if that
# pid still is a containerd of this very folder.
engine_containerd() {
  local pid; pid=$(cat "$STATE/$1/exec/containerd/containerd.pid" 2>/dev/null) || return 1
  { cat "/proc/$pid/cmdline" | tr '\0' ' '; } 2>/dev/null | grep -qF "/$1/exec/containerd/" || return 1
  printf %s "$pid"
}
# What is left of an engine that was killed: its containerd, or the processes
# that hold its containers (they name the socket of this very folder).
engine_remains() {
  engine_containerd "$1" >/dev/null || pgrep -f -- "-address $SHORT/$1/exec/containerd/containerd\.sock" >/dev/null
}
engine_leftovers() {
  local pid exec="$STATE/$1/exec"
  if pid=$(engine_containerd "$1"); then kill -KILL "$pid"; sleep 0.2; fi
  rm -f "$STATE/$1/docker.pid" "$STATE/$1/docker.sock" "$exec/containerd/containerd.pid" "$exec"/containerd/*.sock*
}

engines_up() {
  local engine
  STARTED=()
  for engine in "${ENGINES[@]}"; do
    wake "$engine"
    is_up "$engine" || { engine_launch "$engine"; STARTED+=("$engine"); }
  done
  for engine in "${STARTED[@]}"; do
    until_ready "$engine" 60 docker_on "$engine" version
  done
}
