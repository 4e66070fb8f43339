"""What the stand-ins of the mirrors' lab share: each request is counted, then refused by a fault or forwarded to a registry.

Asked directly, never through a tunnel:
    GET /_lab/count       {host: {"GET /v2/...": times}}, without queries; DELETE clears all three
    GET /_lab/served      the same, of those that were answered with 2xx
    DELETE /_lab          all lists empty, and all well again
    GET /_lab/requests    [{host, method, path, query, authorization}], in order
    PUT /_lab/fault       one fault or a list; DELETE: all well again
A fault fits by `host`, `method` and `path` (a prefix), each optional, `count` times or always, and is one of
    {"status": 404 | 429 | 503 | ...} as a registry says it, {"html": 200} a page with this status,
    {"redirect": URL}, {"stall": SECONDS}, {"challenge": "Basic" | "Bearer"}, {"corrupt": true} the answer with a byte too many.
"""
import http.client
import json
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "upgrade", "host", "accept", "date",
       "server", "content-length", "proxy-authorization"}
CODES = {401: ("UNAUTHORIZED", "authentication required"), 403: ("DENIED", "requested access to the resource is denied"),
         404: ("MANIFEST_UNKNOWN", "manifest unknown"),
         429: ("TOOMANYREQUESTS", "You have reached your pull rate limit.")}
lock = threading.Lock()
counts, served, requests, faults = {}, {}, [], []
lists = {"/_lab/count": counts, "/_lab/served": served, "/_lab/requests": requests}


class Counted(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True   # or each small answer waits 40 ms for an acknowledgement
    timeout = 120
    name, backend = "", ("127.0.0.1", 0)
    tunnel = None                    # the host of a CONNECT

    def at(self, path):
        """Where the backend has it; None: this host is refused."""
        return path

    def fault(self, host, path):
        with lock:
            for fault in faults:
                fits = path.startswith(fault.get("path", "/")) and fault.get("host", host) == host
                if fits and fault.get("method", self.command) == self.command and fault.get("count", 1) > 0:
                    if "count" in fault:
                        fault["count"] -= 1
                    return fault
        return {}

    def serve(self):
        split = urlsplit(self.path)
        if split.path.startswith("/_lab") and not self.tunnel:
            return self.lab(split.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        host = self.tunnel or self.name
        with lock:
            self.note(counts)
            requests.append({"host": host, "method": self.command, "path": split.path, "query": split.query,
                             "authorization": self.headers.get("Authorization")})
        fault = self.fault(host, split.path)
        if "stall" in fault:
            time.sleep(fault["stall"])
        if "redirect" in fault:
            return self.answer(302, b"", {"Location": fault["redirect"]})
        if "html" in fault:
            return self.answer(fault["html"], b"<!DOCTYPE html><html><body>Sign in</body></html>\n", {"Content-Type": "text/html"})
        if "challenge" in fault and not self.headers.get("Authorization"):
            return self.refuse(401, {"WWW-Authenticate": f'{fault["challenge"]} realm="lab"'})
        if "status" in fault:
            return self.refuse(fault["status"], {"Retry-After": "5"} if fault["status"] == 429 else {})
        where = self.at(self.path)
        if where is None:
            return self.refuse(403)
        # dockerd sends one line for each media type.
        headers = {key: value for key, value in self.headers.items() if key.lower() not in HOP}
        headers["Accept"] = ", ".join(self.headers.get_all("Accept") or ["*/*"])
        headers["Host"] = self.headers.get("Host", "")
        link = http.client.HTTPConnection(*self.backend, timeout=60)
        try:
            link.request(self.command, where, body, headers)
            got = link.getresponse()
            data = got.read()
            if got.status < 300:
                with lock:
                    self.note(served)
            kept = {key: value for key, value in got.headers.items() if key.lower() not in HOP}
            if self.command == "HEAD":
                kept["Content-Length"] = got.headers.get("Content-Length", "0")
            elif fault.get("corrupt"):
                data += b"\n"
            self.answer(got.status, data, kept)
        except (OSError, http.client.HTTPException):
            self.refuse(502)
        finally:
            link.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def note(self, book):
        line, of_host = f"{self.command} {urlsplit(self.path).path}", book.setdefault(self.tunnel or self.name, {})
        of_host[line] = of_host.get(line, 0) + 1

    def lab(self, path):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with lock:
            if path in ("/_lab/fault", "/_lab"):
                faults.clear()
                if self.command == "PUT":
                    new = json.loads(body)
                    faults.extend(new if isinstance(new, list) else [new])
            said = faults if path == "/_lab/fault" else lists.get(path, {})
            if path != "/_lab/fault" and self.command == "DELETE":
                for known in lists.values():
                    known.clear()
            text = json.dumps(said).encode()
        self.answer(200, text, {"Content-Type": "application/json"})

    def refuse(self, status, headers=None):
        code, message = CODES.get(status, ("UNKNOWN", "the lab says no"))
        text = json.dumps({"errors": [{"code": code, "message": message, "detail": self.path}]}).encode()
        self.answer(status, text, {"Content-Type": "application/json", **(headers or {})})

    def answer(self, status, data, headers):
        self.send_response_only(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def over_tls(self, context):
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", 0)

    def finish(self):
        try:
            super().finish()
            if self.connection is not self.request:
                self.connection.close()
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        # A client that goes away or does not trust the certificate is what tests are about.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def tls(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
