# The lab for mirrors: a stand-in for the public registries, three mirrors, and the daemons of six hosts. Sourced.

mirrors_place() {
  P_UPSTREAM=$((BASE + 1)); P_HUB=$((BASE + 2)); P_STORE=$((BASE + 3)); P_LOGIN_STORE=$((BASE + 4))
  P_MIRROR=$((BASE + 5)); P_TLS=$((BASE + 6)); P_LOGIN=$((BASE + 7)); P_SSH=$((BASE + 8))
  P_GONE=$((BASE + 9))                     # nothing listens here: the mirror that was
  ENGINES=(node-1 node-2 node-3); RUNTIMES=(node-4 node-5); PODMAN=node-6
  SSH_HOSTS=(node-2 node-3 node-5)
  short_place
  PKI="$STATE/pki"
  node_env
}
. "$LAB/nodes.sh"
mirrors_place

# An authority of the public registries, which every daemon trusts by its
# environment, and one of the mirrors, which none of them does.
pki_make() {
  [ -f "$PKI/mirror.pem" ] && return 0
  mkdir -p "$PKI"
  local curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256) ca name names
  for ca in ca mirror-ca; do
    openssl req -x509 "${curve[@]}" -days 3650 -subj "/CN=castoff lab $ca" \
      -addext basicConstraints=critical,CA:TRUE -keyout "$PKI/$ca.key" -out "$PKI/$ca.pem" 2>/dev/null
  done
  for name in upstream:ca mirror:mirror-ca; do
    ca="${name#*:}"; name="${name%:*}"
    names='DNS:registry-1.docker.io,DNS:quay.io,DNS:gcr.io,DNS:registry.k8s.io,DNS:platform9.io'
    [ "$name" = upstream ] || names='IP:127.0.0.1'
    openssl req "${curve[@]}" -subj "/CN=castoff lab $name" -keyout "$PKI/$name.key" -out "$PKI/$name.csr" 2>/dev/null
    openssl x509 -req -in "$PKI/$name.csr" -CA "$PKI/$ca.pem" -CAkey "$PKI/$ca.key" -CAcreateserial -days 3650 -sha256 \
      -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$names") -out "$PKI/$name.new" 2>/dev/null
    mv "$PKI/$name.new" "$PKI/$name.pem"
  done
}

login_make() {
  (umask 077; mkdir -p "$STATE/secrets"; secret mirror-login 'marker-mirror-')
  [ -s "$STATE/htpasswd" ] || "$PY" -W ignore -c 'import crypt, sys
password = open(sys.argv[1]).read().rstrip("\n")
print("lab:" + crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' "$STATE/secrets/mirror-login" > "$STATE/htpasswd"
}

front_up() {   # front_up PART PORT PROGRAM ARGUMENTS…
  local part="$1" port="$2"; shift 2
  wake "$part"
  is_up "$part" && return 0
  port_free "$part" "$port"
  launch "$part" "$PY" "$@"
}
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

fronts_up() {
  registry_up hub "$P_HUB"
  registry_up store "$P_STORE"
  registry_up login-store "$P_LOGIN_STORE" store "auth: { htpasswd: { realm: castoff-lab, path: \"$STATE/htpasswd\" } }"
  front_up upstream "$P_UPSTREAM" "$LAB/upstream.py" "$P_UPSTREAM" "$P_HUB" "$PKI/upstream.pem" "$PKI/upstream.key"
  front_up mirror "$P_MIRROR" "$LAB/mirror.py" mirror "$P_MIRROR" "$P_STORE"
  front_up mirror-tls "$P_TLS" "$LAB/mirror.py" mirror-tls "$P_TLS" "$P_STORE" "$PKI/mirror.pem" "$PKI/mirror.key"
  front_up mirror-login "$P_LOGIN" "$LAB/mirror.py" mirror-login "$P_LOGIN" "$P_LOGIN_STORE"
  until_ready upstream 10 listens "$P_UPSTREAM"; until_ready mirror 10 listens "$P_MIRROR"
  until_ready mirror-tls 10 listens "$P_TLS"; until_ready mirror-login 10 listens "$P_LOGIN"
}
fronts_forget() {
  local at=http://127.0.0.1
  curl -sSk --noproxy '*' --max-time 5 -X DELETE "$at:$P_UPSTREAM/_lab" "$at:$P_MIRROR/_lab" "$at:$P_LOGIN/_lab" "https://127.0.0.1:$P_TLS/_lab" >/dev/null
}

mirrors_store() {
  [ -f "$STATE/stored" ] && return 0
  "$PY" "$LAB/mirrored.py" "http://127.0.0.1:$P_HUB" "http://127.0.0.1:$P_STORE" "$STATE/exporter.tar" ||
    fail "the registries could not be filled; see $STATE/log/hub.log and store.log"
  touch "$STATE/stored"
}

mirrors_up() {
  local tool new=yes
  for tool in docker-registry dockerd docker containerd ctr podman curl openssl nsenter unshare /usr/sbin/sshd /bin/busybox; do
    command -v "$tool" >/dev/null || fail "$tool is missing; install the packages in lab/packages"
  done
  lock_lab
  mkdir -p "$STATE/run" "$STATE/log"
  [ ! -f "$STATE/built" ] || new=no
  { echo "KIND=mirrors BASE=$BASE"; printf 'SHORT=%q\n' "$SHORT"; } > "$STATE/lab.conf"
  say "lab '$NAME' for mirrors, ports from $BASE"
  step "keys and secrets";                       pki_make; login_make; mirrors_cluster_file; done_step
  step "upstream, mirrors, ssh server";          fronts_up; sshd_up; mirrors_store; done_step
  step "Docker engines, containerd, podman";     nodes_prepare; nodes_up; done_step
  if [ "$new" = yes ]; then
    step "the start state";                      nodes_restore; touch "$STATE/built"; done_step
  fi
  say; say "The lab is up. Its cluster file: $STATE/castoff.toml"
  say "Where its parts listen, as shell variables: $STATE/env"
}

mirrors_reset() {
  [ -f "$STATE/built" ] || fail "lab '$NAME' was never complete; run lab/up again"
  step "upstream, mirrors, ssh server run";  fronts_up; sshd_up; mirrors_cluster_file
  done_step
  step "files, daemons, images";             nodes_restore; done_step
  fronts_forget
}
mirrors_revive() {
  step "upstream, mirrors, ssh server";          fronts_up; sshd_up; done_step
  step "Docker engines, containerd, podman";     nodes_up; done_step
}

mirrors_down() {
  local node part
  nodes_down
  for part in sshd upstream mirror mirror-tls mirror-login hub store login-store; do end_part "$part" & done
  wait
  [ "$SHORT" = "$STATE" ] || rm -f "$SHORT"
  say "lab '$NAME' is down"
  [ "$1" = --purge ] || return 0
  awk -v at="$(readlink -f "$STATE")/" 'index($5, at) == 1 {print $5}' /proc/self/mountinfo | sort -r |
    while read -r mounted; do umount -l "$(printf '%b' "$mounted")"; done
  rm -rf "${STATE:?}" "$ROOT/$NAME.lock"
  say "its folder is removed"
}

mirrors_status() {   # uses `part` of lab/status
  local node
  say "lab '$NAME' for mirrors: $STATE"
  export -f listens
  check() { part "$1" "$2://127.0.0.1:$3" bash -c "listens $3"; }
  check upstream http "$P_UPSTREAM"; check mirror http "$P_MIRROR"; check mirror-tls https "$P_TLS"; check mirror-login http "$P_LOGIN"
  part sshd "ssh -F $STATE/ssh/config node-2" ssh -F "$STATE/ssh/config" node-2 true
  for node in "${ENGINES[@]}"; do
    part "$node" "unix://$SHORT/$node/docker.sock" curl -s --noproxy '*' --unix-socket "$SHORT/$node/docker.sock" http://docker/_ping
  done
  for node in "${RUNTIMES[@]}"; do part "$node" "unix://$SHORT/$node/containerd.sock" "$SHORT/$node/ctr" version; done
}

# The cluster file and the shell variables.
mirrors_cluster_file() {
  local file="$STATE/castoff.toml" node host
  (umask 077; exec 3> "$file.new"
  cat >&3 <<TOML
# Written by lab/up; describes the lab '$NAME', for mirrors.
name = "lab-$NAME"

[ssh]
config = "$STATE/ssh/config"
TOML
  for node in "${ENGINES[@]}" "${RUNTIMES[@]}" "$PODMAN"; do
    host=local; [[ " ${SSH_HOSTS[*]} " != *" $node "* ]] || host="ssh://root@$node"
    local service="\"$LAB/daemon\", \"--name\", \"$NAME\", \"$node\""
    printf '\n[[hosts]]\nname = "%s"\nhost = "%s"\n' "$node" "$host" >&3
    case " ${ENGINES[*]} | ${RUNTIMES[*]} | " in
      *" $node "*'|'*'|'*) cat >&3 <<TOML ;;
[hosts.docker]
socket = "$SHORT/$node/docker.sock"
config = "$STATE/$node/docker/daemon.json"
certs = "$STATE/$node/docker/certs.d"
reload = [$service, "reload"]
restart = [$service, "restart"]
log = ["tail", "-c", "200000", "$STATE/log/$node.log"]
TOML
      *'|'*" $node "*'|'*) cat >&3 <<TOML ;;
[hosts.containerd]
socket = "$SHORT/$node/containerd.sock"
config = "$STATE/$node/config.toml"
certs = "$STATE/$node/certs.d"
restart = [$service, "restart"]
ctr = ["$STATE/$node/ctr"]
TOML
      *) cat >&3 <<TOML ;;
[hosts.podman]
podman = ["$STATE/$node/podman"]
folder = "$STATE/$node/home/.config/containers/registries.conf.d"
certs = "$STATE/$node/home/.config/containers/certs.d"
TOML
    esac
  done
  cat >&3 <<TOML

[secrets]
mirror-login = { file = "$STATE/secrets/mirror-login" }

[registries."127.0.0.1:$P_MIRROR"]
url = "http://127.0.0.1:$P_MIRROR"

[registries."127.0.0.1:$P_TLS"]
url = "https://127.0.0.1:$P_TLS"
ca = "$PKI/mirror-ca.pem"

[registries."127.0.0.1:$P_LOGIN"]
url = "http://127.0.0.1:$P_LOGIN"
username = "lab"
password = { file = "$STATE/secrets/mirror-login" }
TOML
  mv "$file.new" "$file"
  { printf 'export CASTOFF_UPSTREAM_URL=http://127.0.0.1:%s\n' "$P_UPSTREAM"
    printf 'export CASTOFF_UPSTREAM_CA=%q\n' "$PKI/ca.pem"
    printf 'export CASTOFF_MIRROR_URL=http://127.0.0.1:%s\n' "$P_MIRROR"
    printf 'export CASTOFF_MIRROR_TLS_URL=https://127.0.0.1:%s\n' "$P_TLS"
    printf 'export CASTOFF_MIRROR_TLS_CA=%q\n' "$PKI/mirror-ca.pem"
    printf 'export CASTOFF_MIRROR_LOGIN_URL=http://127.0.0.1:%s\n' "$P_LOGIN"
    printf 'export CASTOFF_MIRROR_LOGIN_USER=lab\n'
    printf 'export CASTOFF_MIRROR_LOGIN_PASSWORD=%q\n' "$(cat "$STATE/secrets/mirror-login")"
    printf 'export CASTOFF_MIRROR_GONE_URL=http://127.0.0.1:%s\n' "$P_GONE"
  } > "$STATE/env")
}
