# The real Backend.AI manager: its environment, its configuration, and the start
# state of its stores. Sourced.

# era -> Python, PyPI requirements, and the versions that have to be forced
# because the packages' own bounds no longer build or run.
venv_recipe() {
  case "$ERA" in
    23.09) NEED_PY=3.11; REQUIRES=(backend.ai-manager==23.9.10)
           FORCE=('protobuf<3.21' 'setuptools<70' 'bcrypt<4.1' click==8.1.7 asyncpg==0.29 attrs==23.2 yarl==1.9.4) ;;
    20.09) NEED_PY=3.8;  REQUIRES=(backend.ai-manager==20.9.0b2 backend.ai-common==20.9.0b2)
           FORCE=('protobuf<3.21' 'setuptools<70' 'bcrypt<4.1' 'markupsafe<2.1' yarl==1.6.3 sqlalchemy==1.3.20
                  'pyzmq>=22' 'setproctitle>=1.2' aiotools==1.1.1 callosum==0.9.10) ;;
    25.5)  NEED_PY=3.12; REQUIRES=(backend.ai-manager==25.5.2)
           FORCE=('setuptools<70' 'bcrypt<4.1' click==8.1.8 asyncpg==0.30 attrs==24.3) ;;
  esac
}

# A pyenv shim answers for a version that is not active, so each is tried.
python_for() {
  local candidate
  for candidate in "/usr/bin/python$1" "$HOME"/.pyenv/versions/"$1".*/bin/"python$1" "$(command -v "python$1" || true)"; do
    if [ -x "$candidate" ] && "$candidate" -c 'import venv' 2>/dev/null; then printf %s "$candidate"; return 0; fi
  done
  fetched_python "$1" && return 0
  printf 'lab: era %s needs Python %s: none in PATH or ~/.pyenv/versions, and uv could not fetch it\n' "$ERA" "$1" >&2
  exit 5
}

uv_up() {
  [ -x "$ROOT/tools/bin/uv" ] || { "$PY" -m venv "$ROOT/tools" && "$ROOT/tools/bin/pip" install -q uv; }
}

# Ubuntu has one Python only; where the network allows it uv brings the others.
fetched_python() {
  local -x UV_PYTHON_INSTALL_DIR="$ROOT/pythons"
  mkdir -p "$STATE/log"
  {
    ( flock 8; uv_up; timeout 300 "$ROOT/tools/bin/uv" python install -q "$1" ) 8>"$ROOT/venv.lock"
  } >"$STATE/log/python.log" 2>&1 && "$ROOT/tools/bin/uv" python find -q --managed-python --no-python-downloads "$1"
}

# The scripts in it name its place: in a checkout that was moved it is made anew.
venv_ready() { [ "$(cat "$VENV/ready" 2>/dev/null)" = "$VENV" ]; }

venv_up() {
  ! venv_ready || return 0
  venv_recipe
  local python log="$STATE/log/venv.log" tools="$ROOT/tools"
  python=$(python_for "$NEED_PY") || exit 5
  mkdir -p "$STATE/log"
  (
    flock 8                                      # labs side by side share the environments
    ! venv_ready || exit 0
    uv_up
    rm -rf "$VENV"
    printf '%s\n' "${FORCE[@]}" > "$ROOT/force-$ERA.txt"
    "$tools/bin/uv" venv -q --no-python-downloads --python "$python" "$VENV"
    # uv does not read pip's settings; an index of one's own counts for it too.
    [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
    "$tools/bin/uv" pip install -q --python "$VENV/bin/python" --override "$ROOT/force-$ERA.txt" "${REQUIRES[@]}" setuptools
    # The 20.09 server looks its plugins up with pkg_resources, which refuses
    # packages whose declared bounds the forced versions break.
    [ "$ERA" != 20.09 ] || sed -i '/^Requires-Dist:/d' "$VENV"/lib/python*/site-packages/backend.ai_*.dist-info/METADATA
    "$VENV/bin/backend.ai" mgr --help >/dev/null
    echo "$VENV" > "$VENV/ready"
  ) 8>"$ROOT/venv.lock" >"$log" 2>&1 || fail "the manager's environment could not be made; see $log"
}

mgr() { (cd "$STATE/manager" && env -u BACKEND_ENDPOINT "$VENV/bin/backend.ai" mgr "$@"); }

manager_config() {
  local dir="$STATE/manager"
  "$PY" "$LAB/seed.py" toml "$ERA" "$STATE" "$IPC" "$P_ETCD" "$P_PG" "$P_API" "$P_MON" "$P_WEBUI" "$P_INTERNAL" > "$dir/manager.new"
  chmod 600 "$dir/manager.new"; mv "$dir/manager.new" "$dir/manager.toml"
  printf '[alembic]\nscript_location = ai.backend.manager.models:alembic\nsqlalchemy.url = postgresql://backend:%s@127.0.0.1:%s/backend\n' \
    "$(cat "$STATE/secrets/pg")" "$P_PG" > "$dir/alembic.ini"
  chmod 600 "$dir/alembic.ini"
}

# ---- the start state ------------------------------------------------------
# Made once by the manager's own schema command and seed.py, then kept: the
# database as a template that cannot be connected to, etcd as a dump.
state_build() {
  [ -f "$STATE/start.json" ] && return 0
  local dir="$STATE/manager" log="$STATE/log/seed.log"
  pg_admin -c "DROP DATABASE IF EXISTS backend WITH (FORCE)" -c "DROP DATABASE IF EXISTS backend_start"
  pg_admin -tAc "SELECT 1 FROM pg_roles WHERE rolname = 'backend'" | grep -q 1 || pg_admin -c "CREATE ROLE backend LOGIN"
  # The password goes by a file: an argument would be readable in ps.
  printf "ALTER ROLE backend PASSWORD '%s'" "$(cat "$STATE/secrets/pg")" | pg_admin
  pg_admin -c "CREATE DATABASE backend OWNER backend"
  psql_as postgres backend -c 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"'
  [ -f "$dir/manager.key_secret" ] || "$VENV/bin/python" -c \
    'import sys, zmq.auth; zmq.auth.create_certificates(sys.argv[1], "manager")' "$dir" >>"$log" 2>&1
  "$PY" "$LAB/seed.py" etcd "$ERA" "$STATE" "$P_HUB" "$P_REDIS" | etcd_kv restore /sorna/
  mgr schema oneshot -f alembic.ini >>"$log" 2>&1 || true      # its exit code says nothing; the rows below do
  psql_as backend backend -tAc "SELECT json_object_agg(t, c) FROM (SELECT table_name t, json_agg(column_name) c
    FROM information_schema.columns WHERE table_schema = 'public' GROUP BY 1) x" > "$STATE/columns.json"
  "$PY" "$LAB/seed.py" sql "$ERA" "$STATE" "$P_HUB" < "$STATE/columns.json" > "$STATE/seed.sql"
  psql_as backend backend -1 -f "$STATE/seed.sql" >>"$log" 2>&1 || fail "the start state does not fit the schema; see $log"
  rm -f "$STATE/seed.sql" "$STATE/columns.json"
  pg_admin -c "ALTER DATABASE backend RENAME TO backend_start" -c "ALTER DATABASE backend_start ALLOW_CONNECTIONS false"
  etcd_kv dump /sorna/ > "$STATE/start.tmp"
  mv "$STATE/start.tmp" "$STATE/start.json"
}

state_restore() {
  redis-cli -p "$P_REDIS" flushall >/dev/null
  etcd_kv restore /sorna/ < "$STATE/start.json"
  pg_admin -c "DROP DATABASE IF EXISTS backend WITH (FORCE)" -c "CREATE DATABASE backend TEMPLATE backend_start OWNER backend"
  state_containers
}

# Containers made anew have new ids; the kernels' rows name the present ones.
state_containers() {
  local kernel id
  while read -r kernel id; do
    echo "UPDATE kernels SET container_id = '$id' WHERE id = '$kernel';"
  done < "$STATE/containers" | psql_as backend backend -1
}
