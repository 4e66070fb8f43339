# Starting and ending the manager's API server, as a service unit would. Sourced.

api_answers() { http_ok "http://127.0.0.1:$P_API/"; }

# Worker processes live in the server's process group; when the server itself
# was killed they may remain. The working folder shows that they are ours.
manager_leftovers() {
  local pid worker
  read -r pid _ 2>/dev/null < "$STATE/run/manager" || return 0
  for worker in $(pgrep -g "$pid" || true); do
    [ "$(readlink "/proc/$worker/cwd" 2>/dev/null)" = "$(readlink -f "$STATE/manager")" ] && kill -KILL "$worker" 2>/dev/null || true
  done
}

manager_start() {
  wake manager
  if is_up manager; then until_ready manager 110 api_answers; return 0; fi
  manager_leftovers
  port_free manager "$P_API"
  local run=("$VENV/bin/python" -m ai.backend.manager.server)
  [ "$ERA" != 20.09 ] || run=("$VENV/bin/python" -m ai.backend.gateway.server)
  # 23.09's server opens a Docker client, though it never uses it here.
  (cd "$STATE/manager" && launch manager env DOCKER_HOST="unix://$SHORT/gpu-1/docker.sock" PYTHONUNBUFFERED=1 "${run[@]}")
  until_ready manager 110 api_answers
}

manager_stop() {
  local pid; pid=$(pid_of manager || true)
  local record; record=$(cat "$STATE/run/manager" 2>/dev/null || true)
  end_part manager TERM 20
  if [ -n "$record" ]; then
    printf '%s\n' "$record" > "$STATE/run/manager"; manager_leftovers; rm -f "$STATE/run/manager"
  fi
}
