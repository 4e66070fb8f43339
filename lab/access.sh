# Secrets, the ssh server, and the files that describe the lab to castoff. Sourced.

# A secret starts with a recognisable word, so that a test can search logs,
# plans and process lists for it.
secret() {   # secret NAME PREFIX
  [ -s "$STATE/secrets/$1" ] && return 0
  printf '%s%s\n' "$2" "$(od -An -N6 -tx1 /dev/urandom | tr -d ' \n')" > "$STATE/secrets/$1"
}
secrets_make() {
  (umask 077; mkdir -p "$STATE/secrets")
  umask 077
  secret pg 'marker-pg-'
  secret pg-admin 'marker-pgadmin-'
  secret cr "marker-cr-\$it's\"-"       # characters that quoting gets wrong
  secret api 'marker-api-'
  printf '127.0.0.1:%s:*:backend:%s\n127.0.0.1:%s:*:postgres:%s\n' \
    "$P_PG" "$(cat "$STATE/secrets/pg")" "$P_PG" "$(cat "$STATE/secrets/pg-admin")" > "$STATE/secrets/pgpass"
  umask 022
}

sshd_up() {
  wake sshd
  is_up sshd && return 0
  port_free sshd "$P_SSH"
  local dir="$STATE/ssh" host
  mkdir -p "$dir" /run/sshd; chmod 700 "$dir"
  [ -f "$dir/host_key" ]   || ssh-keygen -q -t ed25519 -N '' -C lab-host -f "$dir/host_key"
  [ -f "$dir/client_key" ] || ssh-keygen -q -t ed25519 -N '' -C lab-client -f "$dir/client_key"
  cp "$dir/client_key.pub" "$dir/authorized_keys"
  printf '[127.0.0.1]:%s %s\n' "$P_SSH" "$(cut -d' ' -f1,2 "$dir/host_key.pub")" > "$dir/known_hosts"
  # Without PAM sshd refuses an account whose password field starts with "!";
  # with PAM it does not look at the field when a key is used.
  local pam=no
  case "$(getent shadow root | cut -d: -f2)" in '!'*) pam=yes ;; esac
  cat > "$dir/sshd_config" <<CONF
ListenAddress 127.0.0.1
Port $P_SSH
HostKey $dir/host_key
AuthorizedKeysFile $dir/authorized_keys
PidFile none
StrictModes no
UsePAM $pam
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowStreamLocalForwarding yes
AllowTcpForwarding yes
MaxStartups 100
MaxSessions 50
Subsystem sftp internal-sftp
CONF
  : > "$dir/config"
  for host in "${SSH_HOSTS[@]}"; do
    cat >> "$dir/config" <<CONF
Host $host
  HostName 127.0.0.1
  Port $P_SSH
  User root
  IdentityFile $dir/client_key
  IdentitiesOnly yes
  UserKnownHostsFile $dir/known_hosts
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR

CONF
  done
  launch sshd /usr/sbin/sshd -D -e -f "$dir/sshd_config"
  until_ready sshd 10 ssh -F "$dir/config" "${SSH_HOSTS[0]}" true
}

# The cluster file: what castoff reads to know this cluster.
cluster_file() {
  local name=lab file="$STATE/castoff.toml"
  [ "$NAME" = default ] || name="lab-$NAME"
  local service="\"$LAB/manager\", \"--name\", \"$NAME\""
  (umask 077; cat > "$file.new" <<TOML
# Written by lab/up; describes the lab '$NAME' (era $ERA).
name = "$name"

[etcd]
endpoints = ["http://127.0.0.1:$P_ETCD"]
namespace = "local"

[postgres]
url = "postgres://backend@127.0.0.1:$P_PG/backend"
password = { file = "$STATE/secrets/pg" }

[ssh]
config = "$STATE/ssh/config"

[[managers]]
name = "mgr-01"
host = "ssh://root@mgr-01"
cli = ["$VENV/bin/backend.ai", "mgr"]
working-dir = "$STATE/manager"
api = "http://127.0.0.1:$P_API"
log = ["tail", "-n", "5000", "$STATE/log/manager.log"]
service = { stop = [$service, "stop"], start = [$service, "start"], status = [$service, "status"] }

[[agents]]
name = "gpu-1"
docker = "unix://$SHORT/gpu-1/docker.sock"
host = "local"

[[agents]]
name = "gpu-2"
docker = "unix://$SHORT/gpu-2/docker.sock"
host = "local"

[[agents]]
name = "gpu-3"
docker = "ssh://root@gpu-3$SHORT/gpu-3/docker.sock"
host = "ssh://root@gpu-3"

[registries."cr.backend.ai"]
url = "http://127.0.0.1:$P_FACADE"
username = "robot\$castoff"
password = { file = "$STATE/secrets/cr" }

[registries."docker.io"]
url = "http://127.0.0.1:$P_HUB"
TOML
  mv "$file.new" "$file"
  { printf 'export CASTOFF_LAB_PG_PASSWORD=%q\n' "$(cat "$STATE/secrets/pg")"
    printf 'export CASTOFF_LAB_CR_PASSWORD=%q\n' "$(cat "$STATE/secrets/cr")"
    printf 'export CASTOFF_LAB_CR_USERNAME=%q\n' 'robot$castoff'
    printf 'export CASTOFF_LAB_API_SECRET=%q\n' "$(cat "$STATE/secrets/api")"
  } > "$STATE/env")
}
