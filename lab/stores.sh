# etcd, PostgreSQL and Redis: the manager's three stores. Sourced.

etcd_kv() { "$PY" "$LAB/etcdkv.py" "http://127.0.0.1:$P_ETCD" "$@"; }

etcd_up() {
  wake etcd
  is_up etcd && return 0
  port_free etcd "$P_ETCD"; port_free etcd "$P_PEER"
  launch etcd etcd --name lab --data-dir "$STATE/etcd" --logger=zap --log-outputs=stderr \
    --listen-client-urls "http://127.0.0.1:$P_ETCD" --advertise-client-urls "http://127.0.0.1:$P_ETCD" \
    --listen-peer-urls "http://127.0.0.1:$P_PEER" --initial-advertise-peer-urls "http://127.0.0.1:$P_PEER" \
    --initial-cluster "lab=http://127.0.0.1:$P_PEER"
  until_ready etcd 20 http_ok "http://127.0.0.1:$P_ETCD/health"
}

redis_up() {
  wake redis
  is_up redis && return 0
  port_free redis "$P_REDIS"
  mkdir -p "$STATE/redis"
  launch redis redis-server --port "$P_REDIS" --bind 127.0.0.1 --dir "$STATE/redis" --save '' --appendonly no
  until_ready redis 10 redis-cli -p "$P_REDIS" ping
}

# PostgreSQL refuses to run as root. setpriv changes the user and then *is* the
# server, so the recorded pid is the server's.
as_postgres() { setpriv --reuid postgres --regid postgres --init-groups -- "$@"; }
pg_bin() { ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1; }

# psql_as ROLE DATABASE …: over TCP, as the tool under test connects.
psql_as() {
  local role="$1" db="$2"; shift 2
  PGPASSFILE="$STATE/secrets/pgpass" PGOPTIONS='-c client_min_messages=warning' psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$P_PG" -U "$role" -d "$db" "$@"
}
pg_admin() { psql_as postgres postgres "$@"; }

# The data folder belongs to the user postgres, who cannot get below a checkout
# in /root: then only this folder lives in /var/tmp, and lab.conf remembers it.
pg_place() {
  [ -z "$PGDATA" ] || return 0
  PGDATA="$STATE/pg"
  as_postgres test -x "$STATE" || PGDATA="/var/tmp/castoff-lab-$(printf %s "$STATE" | cksum | cut -d' ' -f1)/pg"
}

pg_up() {
  wake postgres
  is_up postgres && return 0
  port_free postgres "$P_PG"
  if [ ! -f "$STATE/pg.ready" ]; then
    rm -rf "$PGDATA"                             # an initdb that was cut short
    mkdir -p "$PGDATA"; chown postgres: "$PGDATA"; chmod 700 "$PGDATA"
    install -o postgres -m 600 "$STATE/secrets/pg-admin" "$PGDATA.pw"
    # C.UTF-8 exists everywhere; fsync stays on, only the first sync is skipped.
    (cd / && as_postgres "$(pg_bin)/initdb" -D "$PGDATA" -U postgres -A scram-sha-256 --pwfile="$PGDATA.pw" \
      -E UTF8 --locale=C.UTF-8 --no-sync) >> "$STATE/log/postgres.log" 2>&1 ||
      fail "PostgreSQL: initdb failed; see $STATE/log/postgres.log"
    rm -f "$PGDATA.pw"
    touch "$STATE/pg.ready"
  fi
  # After a kill -9 its helpers need a moment to notice; they hold the memory
  # that a new server refuses to take over. Their working folder is the data folder.
  local tries=100
  while [ "$tries" -gt 0 ] && find /proc -maxdepth 2 -name cwd -lname "$(readlink -f "$PGDATA")" 2>/dev/null | grep -q .; do
    sleep 0.1; tries=$((tries - 1))
  done
  # Where nobody reaps it, the killed server's process number still seems to be taken.
  [ "$tries" = 0 ] || rm -f "$PGDATA/postmaster.pid"
  (cd / && launch postgres setpriv --reuid postgres --regid postgres --init-groups -- "$(pg_bin)/postgres" -D "$PGDATA" \
    -c port="$P_PG" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200)
  until_ready postgres 30 pg_admin -c 'SELECT 1'
}
