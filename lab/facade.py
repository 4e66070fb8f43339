"""Stands in for Harbor in front of a plain docker-registry (the backend).

    facade.py PORT BACKEND_URL USER PASSWORD_FILE

Answers as Harbor v2 does: its REST lists, the token service, and /v2/ behind a
Bearer token. It is also the engines' HTTP proxy, where it knows one host only,
cr.backend.ai: so `docker pull cr.backend.ai/...` works under the real name, and
no engine of the lab ever reaches a real registry.

For tests: PUT /_lab/fault {"status":503,"path":"/v2/stable/","count":3},
{"delay_ms":500}, {"rate_bytes":200000}, {"status":429,"retry_after":5}, also a
list of these; DELETE /_lab/fault; GET /_lab/requests (counts), DELETE clears them.
"""
import base64
import hmac
import http.client
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

PUBLIC, PROJECTS = ("stable", "community"), ("stable", "community", "secret")
KEY = b"lab"                # signs tokens; only this process checks them
HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "upgrade", "host",
       "authorization", "proxy-authorization", "accept", "date", "server"}

PORT, BACKEND, USER = int(sys.argv[1]), urlsplit(sys.argv[2]), sys.argv[3]
with open(sys.argv[4]) as secret:
    PASSWORD = secret.read().rstrip("\n")

ACCEPTED = ("application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json,"
            " application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")
lock = threading.Lock()
faults, counts = [], {}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(text):
    return b64(hmac.new(KEY, text.encode(), "sha256").digest())


def token_for(access):
    now = int(time.time())
    body = {"iss": "harbor-token-issuer", "aud": "harbor-registry", "nbf": now, "exp": now + 1800, "access": access}
    text = ".".join(b64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "HS256"}, body))
    return f"{text}.{sign(text)}"


def access_in(token):
    """The access list of a token of ours, None if it is not one or has expired."""
    try:
        text, signature = token.rsplit(".", 1)
        body = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
        return body["access"] if hmac.compare_digest(signature, sign(text)) and body["exp"] > time.time() else None
    except (ValueError, KeyError, IndexError):
        return None


def backend(method, path, headers, body=None, chunked=False):
    link = http.client.HTTPConnection(BACKEND.hostname, BACKEND.port, timeout=120)
    link.request(method, path, body, headers, encode_chunked=chunked)
    return link.getresponse()


def backend_json(path, accept="*/*"):
    answer = backend("GET", path, {"Accept": accept})
    raw = answer.read()
    return (json.loads(raw), answer.headers, len(raw)) if answer.status == 200 else (None, answer.headers, 0)


def repositories(project):
    listed = backend_json("/v2/_catalog?n=1000")[0]["repositories"]
    return [name for name in listed if name.startswith(project + "/")]


def artifacts(repository):
    """One entry per digest, all its tags in it, as Harbor lists them."""
    found = {}
    for tag in sorted((backend_json(f"/v2/{repository}/tags/list")[0] or {}).get("tags") or []):
        manifest, headers, size = backend_json(f"/v2/{repository}/manifests/{tag}", ACCEPTED)
        if manifest is None:
            continue
        sha = headers["Docker-Content-Digest"]
        config = manifest.get("config", {"mediaType": None, "size": 0})
        entry = found.setdefault(sha, {
            "digest": sha, "type": "IMAGE", "media_type": config["mediaType"], "repository_name": repository, "tags": [],
            "manifest_media_type": manifest["mediaType"],
            "size": size + config["size"] + sum(part["size"] for part in manifest.get("layers", [])),
            "references": [{"child_digest": child["digest"], "platform": child["platform"]}
                           for child in manifest.get("manifests", [])] or None,
            "push_time": "2021-03-01T00:00:00.000Z", "pull_time": "0001-01-01T00:00:00.000Z"})
        entry["tags"].append({"name": tag, "immutable": False, "push_time": "2021-03-01T00:00:00.000Z"})
    return list(found.values())


class Facade(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True   # or each small answer waits 40 ms for an acknowledgement

    def login(self):
        """None: anonymous; True: the robot; False: a wrong login."""
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(value).decode().partition(":")
        except ValueError:
            return False
        return user == USER and hmac.compare_digest(password.encode(), PASSWORD.encode())

    def allowed(self, project, who):
        return ["pull", "push"] if who and project in PROJECTS else ["pull"] if project in PUBLIC else []

    def answer(self, status, body=b"", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        sent = {"Content-Type": "application/json; charset=utf-8", **dict(headers), "Content-Length": str(len(data))}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def error(self, status, code, message, headers=()):
        self.answer(status, {"errors": [{"code": code, "message": message}]}, headers)

    def page(self, rows, query, path):
        number, size = int(query.get("page", ["1"])[0]), min(100, int(query.get("page_size", ["10"])[0]))
        headers = {"X-Total-Count": str(len(rows))}
        if number * size < len(rows):
            headers["Link"] = f'<{path}?page={number + 1}&page_size={size}>; rel="next"'
        self.answer(200, rows[(number - 1) * size:number * size], headers)

    def handle_any(self):
        url = urlsplit(self.path)
        if url.scheme and url.hostname != "cr.backend.ai":       # CONNECT too: plain HTTP only
            return self.error(502, "LAB", f"the lab does not lead to {self.path}")
        path, query = url.path, parse_qs(url.query, keep_blank_values=True)
        if path.startswith("/_lab/"):
            return self.switches(path)
        with lock:
            key = "/".join(path.split("/")[:5 if path.startswith("/api/") else 4])
            counts[key] = counts.get(key, 0) + 1
        if self.spoiled(path):
            return None
        if path.startswith("/v2/"):
            return self.registry(path, url.query)
        return self.token(query) if path == "/service/token" else self.rest(path, query)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_CONNECT = handle_any

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def switches(self, path):
        with lock:
            if path == "/_lab/fault" and self.command in ("PUT", "POST"):
                wanted = json.loads(self.body())
                faults[:] = wanted if isinstance(wanted, list) else [wanted]
            kept = {"/_lab/fault": faults, "/_lab/requests": counts}.get(path)
            if self.command == "DELETE" and kept:
                kept.clear()
            self.answer(404 if kept is None else 200, kept)

    def spoiled(self, path):
        """Applies the faults that fit this path; True when it has been answered."""
        self.rate = None
        with lock:
            chosen = [fault for fault in faults if path.startswith(fault.get("path", "/"))]
            for fault in [one for one in chosen if "count" in one]:
                fault["count"] -= 1
                if fault["count"] <= 0:
                    faults.remove(fault)
        for fault in chosen:
            time.sleep(fault.get("delay_ms", 0) / 1000)
            self.rate = fault.get("rate_bytes", self.rate)
            if "status" in fault:
                status = fault["status"]
                code = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 429: "TOOMANYREQUESTS"}.get(status, "UNKNOWN")
                again = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
                self.close_connection = True       # a body may be on its way that nobody read
                self.error(status, code, "the lab was told to fail here", again)
                return True
        return False

    def rest(self, path, query):
        """Harbor's own API, as far as a migration asks it."""
        who = self.login()
        if who is False:
            return self.error(401, "UNAUTHORIZED", "unauthorized")
        base = "/api/v2.0"
        if path == base + "/health":
            return self.answer(200, {"status": "healthy", "components": []})
        if path == base + "/systeminfo":
            known = {"auth_mode": "db_auth", "registry_url": "cr.backend.ai", "self_registration": False}
            return self.answer(200, {**known, "harbor_version": "v2.2.1-lab", "read_only": False} if who else known)
        visible = [name for name in PROJECTS if who or name in PUBLIC]
        entry = lambda name: {"name": name, "project_id": PROJECTS.index(name) + 1, "repo_count": len(repositories(name)),
                              "metadata": {"public": str(name in PUBLIC).lower()}}
        if path == base + "/projects":
            exact = re.fullmatch(r"name=(.*)", query.get("q", [""])[0])
            rows = [entry(name) for name in visible if not exact or name == exact[1]]
            return self.page(rows, query, path)
        match = re.fullmatch(base + r"/projects/([^/]+)(/repositories(?:/([^/]+)/artifacts(?:/([^/]+))?)?)?", path)
        if not match:
            return self.error(404, "NOT_FOUND", f"path {path} was not found")
        project, tail, repository, reference = match.groups()
        if project not in visible:
            return self.error(*((404, "NOT_FOUND", f"project {project} not found") if who else (401, "UNAUTHORIZED", "unauthorized")))
        if not tail:
            return self.answer(200, entry(project))
        if repository is None:
            return self.page([{"name": name, "project_id": PROJECTS.index(project) + 1,
                               "artifact_count": len(artifacts(name))} for name in repositories(project)], query, path)
        name = f"{project}/{unquote(unquote(repository))}"     # a slash arrives encoded twice
        if name not in repositories(project):
            return self.error(404, "NOT_FOUND", f"repository {name} not found")
        rows = artifacts(name)
        if reference is None:
            return self.page(rows, query, path)
        for row in rows:
            if reference == row["digest"] or reference in [tag["name"] for tag in row["tags"]]:
                return self.answer(200, row)
        return self.error(404, "NOT_FOUND", f"artifact {name}:{reference} not found")

    def token(self, query):
        who = self.login()
        if who is False:
            return self.error(401, "UNAUTHORIZED", "unauthorized")
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            may = ["*"] if kind == "registry" and who else self.allowed(name.split("/")[0], who)
            access.append({"type": kind, "name": name, "actions": [one for one in actions.split(",") if one in may]})
        self.answer(200, {"token": token_for(access), "access_token": "", "expires_in": 1800})

    def registry(self, path, query):
        """/v2/: checks the token, hands on to the backend."""
        repository = (re.match(r"/v2/(.+?)/(?:manifests|blobs|tags)/", path) or [None, ""])[1]
        action = "pull" if self.command in ("GET", "HEAD") else "push"
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        granted = access_in(value) if kind.lower() == "bearer" else None
        if kind.lower() == "basic" and self.login():            # Harbor takes a Basic login here as well
            granted = [{"name": repository, "actions": self.allowed(repository.split("/")[0], True)}]
        if granted is None or repository and not any(
                entry["name"] == repository and action in entry["actions"] for entry in granted):
            scope = f',scope="repository:{repository}:{"pull" if action == "pull" else "pull,push"}"' if repository else ""
            what = f"unauthorized to access repository: {repository}, action: {action}" if repository else "unauthorized"
            self.close_connection = action == "push"
            return self.error(401, "UNAUTHORIZED", f"{what}: {what}", {
                "Www-Authenticate": f'Bearer realm="http://127.0.0.1:{PORT}/service/token",service="harbor-registry"{scope}',
                "Docker-Distribution-Api-Version": "registry/2.0"})
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        headers["Host"] = f"{BACKEND.hostname}:{BACKEND.port}"
        if "Accept" in self.headers:                             # dockerd sends one line per media type
            headers["Accept"] = ", ".join(self.headers.get_all("Accept"))
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        body = self.chunks() if chunked else self.body()
        reply = backend(self.command, path + ("?" + query if query else ""), headers, body or None, chunked)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        if reply.length is None and self.command != "HEAD":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        piece = max(1, min(65536, int(self.rate or 1 << 20) // 10))
        while data := reply.read(piece):
            self.wfile.write(data)
            if self.rate and "/blobs/" in path:
                time.sleep(len(data) / self.rate)

    def chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):     # a client that hung up is no news
            super().handle_error(request, client_address)


Server(("127.0.0.1", PORT), Facade).serve_forever()
