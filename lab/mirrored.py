"""The images of the mirrors' lab, a few hundred bytes each, no two of the same content.

    mirrored.py UPSTREAM_URL MIRROR_URL ARCHIVE

They go to the registry behind the upstream and to that behind the mirrors; the archive is an image to run, for `docker load`.
"""
import sys

from images import Image, Layer, Registry, digest, save

IMAGES = {
    "docker.io": ["library/busybox:1", "library/alpine:3", "library/hello-world:latest", "lablup/python:3.6-ubuntu18.04"],
    "quay.io": ["coreos/etcd:v3.5.6"],
    "gcr.io": ["google-containers/pause:3.2"],
    "registry.k8s.io": ["pause:3.9"],
    "platform9.io": ["platform9/nodelet:5.9"],
}
ONLY_UPSTREAM = {"docker.io": ["library/redis:6", "library/nginx:1"]}
PATH = "infra/k8s/"


def image(name):
    part = Layer({"etc/image": (name + "\n").encode()})
    return Image([part], "2021-03-01T00:00:00Z", {"org.opencontainers.image.title": name})


upstream, mirror = Registry(sys.argv[1]), Registry(sys.argv[2])
for registry, names in IMAGES.items():
    for name in names:
        for at, where in ((upstream, f"{registry}/{name}"), (mirror, name), (mirror, PATH + name)):
            at.push(where, image(f"{registry}/{name}"))
for registry, names in ONLY_UPSTREAM.items():
    for name in names:
        upstream.push(f"{registry}/{name}", image(f"{registry}/{name}"))
with open("/bin/busybox", "rb") as file:
    runs = Layer({"bin/busybox": file.read(), "bin/sh": "busybox", "bin/exporter": b"#!/bin/sh\nexec busybox sleep 1000000000\n"})
exporter = Image([runs], "2021-03-01T00:00:00Z", {})
save(sys.argv[3], "registry.example.com/tools/exporter:1", exporter)
with open(sys.argv[3].replace(".tar", ".id"), "w") as file:
    file.write(digest(exporter.config) + "\n")
