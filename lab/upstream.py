"""Stands in for Docker Hub and the other public registries: an HTTP proxy that answers CONNECT for their names itself.

    upstream.py PORT REGISTRY_PORT CERTIFICATE KEY

What registry-1.docker.io has is kept in the registry behind under docker.io/, and so on for the others. Every other
host, and every plain request, is refused: nothing behind this proxy reaches a real registry. See counted.py for
what a test can ask of it.
"""
import sys

from counted import Counted, Server, tls

# Every public name, with the folder of the registry that holds its images.
NAMES = {"registry-1.docker.io": "docker.io", "quay.io": "quay.io", "gcr.io": "gcr.io",
         "registry.k8s.io": "registry.k8s.io", "platform9.io": "platform9.io"}


class Upstream(Counted):
    name = "proxy"
    backend = ("127.0.0.1", int(sys.argv[2]))

    def do_CONNECT(self):
        host, _, port = self.path.rpartition(":")
        if host not in NAMES or port != "443":
            self.close_connection = True
            return self.refuse(403)
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.tunnel, self.close_connection = host, False
        self.over_tls(CONTEXT)

    def at(self, path):
        if not self.tunnel or not path.startswith("/v2/"):
            return None
        return path if path == "/v2/" else f"/v2/{NAMES[self.tunnel]}/{path[4:]}"


CONTEXT = tls(sys.argv[3], sys.argv[4])
Server(("127.0.0.1", int(sys.argv[1])), Upstream).serve_forever()
