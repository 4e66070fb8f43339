# What the engines hold at the start, and how they get back to it. Sourced.

PY36=lablup/python:3.6-ubuntu18.04
PY38=lablup/python:3.8-ubuntu18.04
TF=lablup/python-tensorflow:2.3-py36-cuda10.1
RBASE=lablup/r-base:4.0-ubuntu18.04
NODEJS=lablup/node:14-ubuntu18.04
CUSTOM=lablup/custom-lab:1.0
EXPORTER=registry.example.com/tools/exporter:1

pulled_on() {
  case "$1" in
    gpu-1) echo "$PY36 $PY38 $TF" ;;
    gpu-2) echo "$PY36 $RBASE $NODEJS $CUSTOM" ;;
    gpu-3) echo "$PY36 $TF $RBASE" ;;
  esac
}
loaded_on() { echo exporter; [ "$1" != gpu-3 ] || echo python; }

# containers_on ENGINE: name, image, state, kernel number (- for none).
# The kernels are those of seed.py; the names are what an agent gives them.
containers_on() {
  case "$1" in
    gpu-1) echo "kernel.python.$(kernel 1) index.docker.io/$PY36 running 1"
           echo "kernel.python-tensorflow.$(kernel 2) index.docker.io/$TF paused 2" ;;
    gpu-2) echo "kernel.r-base.$(kernel 3) index.docker.io/$RBASE running 3" ;;
    gpu-3) echo "kernel.python-tensorflow.$(kernel 4) index.docker.io/$TF exited 4"
           echo "jupyter-of-kim $PY36 running -" ;;
  esac
  echo "exporter $EXPORTER running -"
}
kernel()  { printf '00000000-0000-4000-a000-00000000000%s' "$1"; }
session() { printf '00000000-0000-4000-b000-00000000000%s' "$1"; }

# Made through the API, as an agent does: the docker command would shorten
# index.docker.io/lablup/python to lablup/python. Ends by SIGKILL, because sleep
# as process 1 ignores SIGTERM and every stop would take 10 s.
container_make() {   # ENGINE NAME IMAGE STATE KERNEL
  local engine="$1" name="$2" image="$3" state="$4" number="$5" marks='{}' run='"sleep", "1000000000"' answer
  [ "$number" = - ] || marks="{\"ai.backend.kernel-id\": \"$(kernel "$number")\",
    \"ai.backend.session-id\": \"$(session "$number")\", \"ai.backend.owner\": \"i-$engine\",
    \"ai.backend.internal.block-service-ports\": \"0\"}"
  [ "$state" != exited ] || run='"true"'
  answer=$(curl -s --noproxy '*' --unix-socket "$SHORT/$engine/docker.sock" -H 'Content-Type: application/json' \
    -d "{\"Image\": \"$image\", \"Cmd\": [\"/bin/busybox\", $run], \"Labels\": $marks, \"StopSignal\": \"SIGKILL\",
         \"HostConfig\": {\"NetworkMode\": \"none\"}}" "http://docker/v1.41/containers/create?name=$name")
  case "$answer" in '{"Id"'*) ;; *) fail "$engine: container $name: $answer" ;; esac
  docker_on "$engine" start "$name" >/dev/null
  [ "$state" != exited ] || docker_on "$engine" wait "$name" >/dev/null
  [ "$state" != paused ] || docker_on "$engine" pause "$name" >/dev/null
}

# An engine that comes back does not start its containers again. This does, for
# those of the start state that are still there, and changes nothing else.
engine_revive() {
  local engine="$1" name image state _ found
  while read -r name image state _; do
    found=$(docker_on "$engine" inspect --format '{{.Config.Image}} {{.State.Status}}' "$name" 2>/dev/null || true)
    [ "$found" = "$image exited" ] && [ "$state" != exited ] || continue
    docker_on "$engine" start "$name" >/dev/null
    [ "$state" != paused ] || docker_on "$engine" pause "$name" >/dev/null
  done < <(containers_on "$engine")
}

# ---- putting an engine back ---------------------------------------------
# One line per name an image has on the engine: "reference id".
engine_images() {
  local ids; ids=$(docker_on "$1" image ls -aq --no-trunc | sort -u)
  [ -z "$ids" ] || docker_on "$1" image inspect --format \
    '{{$i := .Id}}{{range .RepoTags}}{{println . $i}}{{end}}{{range .RepoDigests}}{{println . $i}}{{end}}{{if not .RepoTags}}{{if not .RepoDigests}}{{println $i $i}}{{end}}{{end}}' \
    $ids | grep . | sort -u
}
engine_containers() {
  local ids; ids=$(docker_on "$1" ps -aq --no-trunc)
  [ -z "$ids" ] || docker_on "$1" inspect --format '{{slice .Name 1}} {{.Config.Image}} {{.State.Status}} {{.Image}} {{.Id}}' $ids | sort
}

engine_restore() {
  local engine="$1" wanted have name image state number line ref file
  have=$(engine_containers "$engine")
  wanted=$(containers_on "$engine")
  # Containers that are not of the start state, or no longer as they were.
  while read -r name image state _ _; do
    [ -n "$name" ] || continue
    line=$(grep -F "$name $image " <<<"$wanted" || true)
    [ -n "$line" ] || docker_on "$engine" rm -f "$name" >/dev/null
  done <<<"$have"
  # Images: names that are extra or point elsewhere, then those that are missing.
  if [ -f "$STATE/$engine/images" ]; then
    while read -r ref; do
      [ -z "$ref" ] || docker_on "$engine" rmi -f "${ref%% *}" >/dev/null 2>&1 || true
    done < <(comm -23 <(engine_images "$engine") "$STATE/$engine/images")
  fi
  if [ ! -f "$STATE/$engine/images" ] || ! cmp -s <(engine_images "$engine") "$STATE/$engine/images"; then
    for ref in $(pulled_on "$engine"); do docker_on "$engine" pull -q "$ref" >/dev/null; done
    for file in $(loaded_on "$engine"); do docker_on "$engine" load -q -i "$STATE/$file.tar" >/dev/null; done
    [ -f "$STATE/$engine/images" ] || engine_images "$engine" > "$STATE/$engine/images"
  fi
  # Containers again: make, start, pause what is not as it should be.
  have=$(engine_containers "$engine")
  while read -r name image state number; do
    line=$(grep -F "$name $image " <<<"$have" || true)
    case "$state:$(cut -d' ' -f3 <<<"$line")" in
      "$state:$state") ;;
      "$state:") container_make "$engine" "$name" "$image" "$state" "$number" ;;
      running:paused) docker_on "$engine" unpause "$name" >/dev/null ;;
      paused:running) docker_on "$engine" pause "$name" >/dev/null ;;
      running:exited) docker_on "$engine" start "$name" >/dev/null ;;
      *) docker_on "$engine" rm -f "$name" >/dev/null
         container_make "$engine" "$name" "$image" "$state" "$number" ;;
    esac
  done <<<"$wanted"
}

engines_restore() {
  [ -f "$STATE/exporter.tar" ] || "$PY" "$LAB/images.py" save "$STATE"
  local engine pid pids=()
  for engine in "${ENGINES[@]}"; do engine_restore "$engine" & pids+=($!); done
  for pid in "${pids[@]}"; do wait "$pid" || fail "an engine could not be brought to its start state; see $STATE/log/gpu-*.log"; done
  { for engine in "${ENGINES[@]}"; do engine_containers "$engine"; done; } |
    sed -nE 's/^kernel\.[^ ]*\.([0-9a-f-]{36}) .* ([0-9a-f]{64})$/\1 \2/p' > "$STATE/containers"
}
