# The two registries and the stand-in for Harbor before one of them. Sourced.

# registry_up PART PORT [STORE [AUTH]]: Debian's docker-registry with a folder for its store.
registry_up() {
  local part="$1" port="$2" store="${3:-$1}" auth="${4:-}"
  wake "$part"
  is_up "$part" && return 0
  port_free "$part" "$port"
  mkdir -p "$STATE/$store"
  cat > "$STATE/$part.yml" <<YML
version: 0.1
log: { level: warn }
storage: { filesystem: { rootdirectory: "$STATE/$store" }, delete: { enabled: true } }
http: { addr: "127.0.0.1:$port", relativeurls: true }
$auth
YML
  # Variables named REGISTRY_* would be read as its configuration.
  local name unset=()
  for name in $(compgen -e REGISTRY_ || true); do unset+=(-u "$name"); done
  launch "$part" env "${unset[@]}" docker-registry serve "$STATE/$part.yml"
  until_ready "$part" 10 http_ok "http://127.0.0.1:$port/v2/"
}

facade_up() {
  wake facade
  is_up facade && return 0
  port_free facade "$P_FACADE"
  launch facade "$PY" "$LAB/facade.py" "$P_FACADE" "http://127.0.0.1:$P_CR" 'robot$castoff' "$STATE/secrets/cr"
  until_ready facade 10 http_ok "http://127.0.0.1:$P_FACADE/api/v2.0/health"
}

# What a registry holds, as one line: names and sizes of all files, and where
# every tag and layer link points to.
registry_sum() {
  (cd "$1" && { find . -type f -printf '%P %s\n'; find . -name link -type f -exec grep -H . {} +; } | sort | md5sum)
}

registries_fill() {
  [ -f "$STATE/catalog.json" ] && return 0
  "$PY" "$LAB/images.py" push "http://127.0.0.1:$P_HUB" "http://127.0.0.1:$P_CR" "$STATE/catalog.tmp" ||
    fail "the registries could not be filled; see $STATE/log/hub.log and cr.log"
  local part
  for part in hub cr; do
    rm -rf "$STATE/$part.start"; cp -a "$STATE/$part" "$STATE/$part.start"
    registry_sum "$STATE/$part.start" > "$STATE/$part.sum"
  done
  mv "$STATE/catalog.tmp" "$STATE/catalog.json"
}

# Whatever was pushed or deleted since: back to the copy made after filling.
registries_reset() {
  local part port
  for part in hub cr; do
    [ "$(registry_sum "$STATE/$part")" = "$(cat "$STATE/$part.sum")" ] && continue
    end_part "$part"
    rm -rf "${STATE:?}/$part"; cp -a "$STATE/$part.start" "$STATE/$part"
    port=$P_HUB; [ "$part" = hub ] || port=$P_CR
    registry_up "$part" "$port"
  done
  curl -s --noproxy '*' -o /dev/null -X DELETE "http://127.0.0.1:$P_FACADE/_lab/fault"
  curl -s --noproxy '*' -o /dev/null -X DELETE "http://127.0.0.1:$P_FACADE/_lab/requests"
}
