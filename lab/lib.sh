# Shared by every script of the lab: options, names, ports, and how a process
# is started, recognised again and ended. Sourced, never run.

LAB="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"

# The system's own Python where there is one: a pyenv shim that comes first in
# PATH may point at a version without the modules the lab uses.
PY=/usr/bin/python3
[ -x "$PY" ] || PY="$(command -v python3)"

PATH="$PATH:/usr/sbin:/sbin"
# One order of sorting and one encoding, whoever calls.
export LC_ALL=C.UTF-8

fail() { printf 'lab: %s\n' "$*" >&2; exit 1; }
say()  { printf '%s\n' "$*"; }

# step TEXT: names what is being done now; done_step [NOTE] says how long it took.
step() { STEP_TEXT="$1"; STEP_FROM=$(date +%s%N); }
done_step() {
  local ms=$(( ($(date +%s%N) - STEP_FROM) / 1000000 ))
  printf '  %-46s %s\n' "$STEP_TEXT" "${1:-}$(printf '%4d.%d s' $((ms / 1000)) $((ms % 1000 / 100)))"
}

# parse_common "$@": takes --name, --ports, --era, --for out of the arguments and
# leaves the rest in REST. Then everything that follows from the name is set.
parse_common() {
  NAME="${CASTOFF_LAB_NAME:-default}"
  local base="${CASTOFF_LAB_PORTS:-}" era="${CASTOFF_LAB_ERA:-}" kind=
  REST=()
  while [ $# -gt 0 ]; do
    case "$1" in
      --name)    NAME="${2:?--name needs a value}"; shift 2 ;;
      --name=*)  NAME="${1#*=}"; shift ;;
      --ports)   base="${2:?--ports needs a value}"; shift 2 ;;
      --ports=*) base="${1#*=}"; shift ;;
      --era)     era="${2:?--era needs a value}"; shift 2 ;;
      --era=*)   era="${1#*=}"; shift ;;
      --for)     kind="${2:?--for needs a value}"; shift 2 ;;
      --for=*)   kind="${1#*=}"; shift ;;
      *)         REST+=("$1"); shift ;;
    esac
  done
  [[ "$NAME" =~ ^[a-z0-9][a-z0-9-]{0,23}$ ]] || fail "name '$NAME': use a-z, 0-9 and -, at most 24"
  ROOT="$LAB/.state"
  STATE="$ROOT/$NAME"
  ERA=; BASE=; WITH_MANAGER=yes; SHORT=; PGDATA=; KIND=
  if [ -f "$STATE/lab.conf" ]; then . "$STATE/lab.conf"; KIND="${KIND:-backend}"; fi
  case "$kind" in ''|backend|mirrors) ;; *) fail "for '$kind': use backend or mirrors" ;; esac
  [ -z "$KIND" ] || [ -z "$kind" ] || [ "$kind" = "$KIND" ] ||
    fail "lab '$NAME' exists for $KIND; 'lab/down --name $NAME --purge' first, or take another --name"
  KIND="${KIND:-${kind:-backend}}"
  [ -z "$ERA" ] || [ -z "$era" ] || [ "$era" = "$ERA" ] ||
    fail "lab '$NAME' exists with era $ERA; 'lab/down --name $NAME --purge' first, or take another --name"
  [ -z "$BASE" ] || [ -z "$base" ] || [ "$base" = "$BASE" ] ||
    fail "lab '$NAME' exists with ports from $BASE; 'lab/down --name $NAME --purge' first, or take another --name"
  ERA="${ERA:-${era:-23.09}}"
  BASE="${BASE:-${base:-25000}}"
  case "$ERA" in 23.09|20.09|25.5) ;; *) fail "era '$ERA': use 23.09, 20.09 or 25.5" ;; esac
  [[ "$BASE" =~ ^[0-9]+$ ]] && [ "$BASE" -ge 1024 ] && [ "$BASE" -le 65500 ] || fail "ports '$BASE': use a number from 1024 to 65500"
  VENV="$ROOT/venv-$ERA"
  P_ETCD=$((BASE + 1)); P_PEER=$((BASE + 2)); P_PG=$((BASE + 3)); P_REDIS=$((BASE + 4))
  P_HUB=$((BASE + 5)); P_CR=$((BASE + 6)); P_FACADE=$((BASE + 7)); P_SSH=$((BASE + 8))
  P_API=$((BASE + 9)); P_MON=$((BASE + 10)); P_WEBUI=$((BASE + 11)); P_INTERNAL=$((BASE + 12))
  ENGINES=(gpu-1 gpu-2 gpu-3)
  SSH_HOSTS=(mgr-01 gpu-3)
}

need_lab()  { [ -f "$STATE/lab.conf" ] || fail "there is no lab '$NAME'; 'lab/up' makes one"; }
need_root() { [ "$(id -u)" = 0 ] || fail "the lab starts Docker engines and needs root"; }

# One lab script at a time per lab: tests may call them at the same moment.
# Descriptor 9 holds the lock and is closed for everything that is started.
lock_lab() {
  mkdir -p "$STATE"
  exec 9>"$ROOT/$NAME.lock"
  flock -w 300 9 || fail "another lab script has been at work on '$NAME' for 5 minutes"
}

# ---- processes ----------------------------------------------------------
# run/PART holds "pid starttime". The start time (field 22 of /proc/PID/stat)
# tells our process from a later one that was given the same number.
start_time() { local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; s=${s##*) }; set -- $s; printf %s "${20}"; }

pid_of() {   # pid_of PART: prints the pid if that very process is still alive
  local pid from
  read -r pid from 2>/dev/null < "$STATE/run/$1" || return 1
  [ "$(start_time "$pid")" = "$from" ] || return 1
  [ "$(ps -o stat= -p "$pid" | cut -c1)" != Z ] || return 1
  printf %s "$pid"
}
is_up() { pid_of "$1" >/dev/null; }

# launch PART COMMAND…: in its own session, so it outlives the caller's
# terminal; output to log/PART.log.
launch() {
  local part="$1" pid; shift
  mkdir -p "$STATE/run" "$STATE/log"
  setsid "$@" </dev/null >>"$STATE/log/$part.log" 2>&1 9>&- &
  pid=$!
  disown "$pid"
  printf '%s %s\n' "$pid" "$(start_time "$pid")" > "$STATE/run/$part"
}

# port_free PART PORT: another checkout's lab may sit on the same ports.
port_free() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then
    fail "$1: port $2 is taken by another process; give this lab other ports (lab/up --ports BASE)"
  fi
}

# end_part PART [SIGNAL [SECONDS]]: asks, waits, then kills; only our process.
end_part() {
  local part="$1" signal="${2:-TERM}" tries=$(( ${3:-15} * 20 )) pid
  if pid=$(pid_of "$part"); then
    kill -CONT "$pid" 2>/dev/null || true      # a stopped process cannot end
    kill "-$signal" "$pid" 2>/dev/null || true
    while is_up "$part" && [ "$tries" -gt 0 ]; do sleep 0.05; tries=$((tries - 1)); done
    if is_up "$part"; then kill -KILL "$pid" 2>/dev/null || true; sleep 0.2; fi
  fi
  rm -f "$STATE/run/$part"
}

# A daemon that was stopped by a signal (kill -STOP) holds its port but answers
# nothing: wake it instead of starting a second one.
wake() { local pid; if pid=$(pid_of "$1") && [ "$(ps -o stat= -p "$pid" | cut -c1)" = T ]; then kill -CONT "$pid"; fi; }

# until_ready PART SECONDS COMMAND…: fails with the name of the log file.
until_ready() {
  local part="$1" end=$(( $(date +%s) + $2 )); shift 2
  until "$@" >/dev/null 2>&1; do
    is_up "$part" || fail "$part ended at once; see $STATE/log/$part.log"
    [ "$(date +%s)" -lt "$end" ] || fail "$part does not answer; see $STATE/log/$part.log"
    sleep 0.1
  done
}
http_ok() { curl -s -o /dev/null --noproxy '*' --max-time 2 "$1"; }
