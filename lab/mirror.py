"""Stands before a mirror's registry and counts what reaches it; see counted.py for what a test can ask of it.

    mirror.py NAME PORT REGISTRY_PORT [CERTIFICATE KEY]
"""
import sys

from counted import Counted, Server, tls

CONTEXT = tls(*sys.argv[4:6]) if len(sys.argv) > 4 else None


class Mirror(Counted):
    name = sys.argv[1]
    backend = ("127.0.0.1", int(sys.argv[3]))

    def setup(self):
        super().setup()
        if CONTEXT:
            self.over_tls(CONTEXT)


Server(("127.0.0.1", int(sys.argv[2])), Mirror).serve_forever()
