"""The lab's images: builds them in memory and writes them to the registries.

    images.py push HUB_URL CR_URL CATALOG    pushes what is missing, writes CATALOG (JSON)
    images.py save FOLDER                    writes the images that exist only on engines

Docker schema 2 manifests, linux/amd64. A static busybox is the base layer, and
layers are shared as real images share theirs. The bytes depend only on this
file and on /bin/busybox, so digests are the same each time on one machine.
"""
import gzip
import hashlib
import io
import json
import os
import random
import sys
import tarfile
import urllib.error
import urllib.request

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files):
    """A tar of {path: bytes | link target as str}, with nothing that varies."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.mode = 0o755
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


class Layer:
    def __init__(self, files):
        self.tar = tar_of(files)
        self.blob = gzip.compress(self.tar, 6, mtime=0)
        self.digest, self.diff_id = digest(self.blob), digest(self.tar)


def noise(megabytes, seed):
    """Bytes that do not compress, so that a pull takes a moment."""
    return random.Random(seed).randbytes(megabytes << 20)


def layers():
    with open("/bin/busybox", "rb") as file:
        busybox = file.read()
    applets = {"bin/" + name: "busybox" for name in ("sh", "sleep", "ls", "cat", "env")}
    text = lambda line: (line + "\n").encode()
    return {
        "base": Layer({"bin/busybox": busybox, "etc/os-release": text("ID=lab"), **applets}),
        "ubuntu18.04": Layer({"etc/lsb-release": text("DISTRIB_RELEASE=18.04")}),
        "python3.6": Layer({"usr/bin/python": text("#!/bin/sh\necho Python 3.6")}),
        "python3.8": Layer({"usr/bin/python": text("#!/bin/sh\necho Python 3.8")}),
        "python3.8-local": Layer({"usr/bin/python": text("#!/bin/sh\necho Python 3.8 with our patches")}),
        "tf-old": Layer({"opt/tensorflow/lib.so": noise(20, "tf 2.3 of 2020")}),
        "tf-new": Layer({"opt/tensorflow/lib.so": noise(28, "tf 2.3 of 2021")}),
        "r": Layer({"usr/bin/R": text("#!/bin/sh\necho R 4.0")}),
        "node-old": Layer({"usr/bin/node": text("#!/bin/sh\necho node 14.1")}),
        "node-new": Layer({"usr/bin/node": text("#!/bin/sh\necho node 14.16"), "opt/node_modules": noise(32, "node")}),
        "custom": Layer({"opt/custom/README": text("built by the team itself")}),
        "torch": Layer({"opt/torch/README": text("pytorch 1.8")}),
        "julia": Layer({"usr/bin/julia": text("#!/bin/sh\necho julia 1.6")}),
        "llm": Layer({"opt/llm/README": text("only for those who may")}),
        "exporter": Layer({"bin/exporter": text("#!/bin/sh\nexec sleep 1000000000")}),
    }


def labels(runtime, path, distro="ubuntu18.04", accelerator=None):
    """The labels without which a manager's rescan passes an image over."""
    found = {
        "ai.backend.kernelspec": "1",
        "ai.backend.features": "batch query uid-match user-input",
        "ai.backend.base-distro": distro,
        "ai.backend.runtime-type": runtime,
        "ai.backend.runtime-path": path,
        "ai.backend.envs.corecount": "OPENBLAS_NUM_THREADS,OMP_NUM_THREADS,NPROC",
        "ai.backend.service-ports": "ipython:pty:3000,jupyter:http:8081",
        "ai.backend.resource.min.cpu": "1",
        "ai.backend.resource.min.mem": "64m",
    }
    if accelerator:
        found["ai.backend.accelerators"] = accelerator
        found["ai.backend.resource.min.cuda.device"] = "0"
    return found


class Image:
    def __init__(self, parts, created, marks):
        self.layers, self.labels = parts, marks
        self.config = json.dumps({
            "architecture": "amd64", "os": "linux", "created": created,
            "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"], "Labels": marks},
            "rootfs": {"type": "layers", "diff_ids": [part.diff_id for part in parts]},
            "history": [{"created": created, "created_by": "lab"} for _ in parts],
        }, sort_keys=True).encode()
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(self.config), "digest": digest(self.config)},
            "layers": [{"mediaType": LAYER, "size": len(p.blob), "digest": p.digest} for p in parts],
        }, indent=3).encode()

    def size(self):
        return len(self.config) + sum(len(part.blob) for part in self.layers)


def build():
    """{registry: {repository:tag: Image}}; the same Image twice is identical content."""
    have = layers()
    of = lambda created, marks, *names: Image([have[name] for name in ("base", "ubuntu18.04") + names], created, marks)
    python = labels("python", "/usr/bin/python")
    cuda = labels("python", "/usr/bin/python", accelerator="cuda")
    node = labels("app", "/usr/bin/node")
    old, new = "2020-06-01T00:00:00Z", "2021-03-01T00:00:00Z"
    py36, py38 = of(old, python, "python3.6"), of(old, python, "python3.8")
    r = of(old, labels("r", "/usr/bin/R"), "r")
    return {
        "hub": {
            "lablup/python:3.6-ubuntu18.04": py36,
            "lablup/python:3.8-ubuntu18.04": py38,
            "lablup/python-tensorflow:2.3-py36-cuda10.1": of(old, cuda, "python3.6", "tf-old"),
            "lablup/r-base:4.0-ubuntu18.04": r,
            "lablup/node:14-ubuntu18.04": of(old, node, "node-old"),
            "lablup/custom-lab:1.0": of(old, python, "python3.6", "custom"),
        },
        "cr": {
            "stable/python:3.6-ubuntu18.04": py36,
            "stable/python:3.8-ubuntu18.04": py38,
            "stable/python:latest": py38,
            "stable/python-tensorflow:2.3-py36-cuda10.1": of(new, cuda, "python3.6", "tf-new"),
            "stable/python-pytorch:1.8-py38-cuda11.1": of(new, cuda, "python3.8", "torch"),
            "stable/node:14-ubuntu18.04": of(new, node, "node-new"),
            "community/r-base:4.0-ubuntu18.04": r,
            "community/julia:1.6-ubuntu18.04": of(new, labels("julia", "/usr/bin/julia"), "julia"),
            "secret/llm-lab:2.0": of(new, cuda, "python3.8", "llm"),
        },
        "local": {
            # Same name as on the hub, other content: somebody rebuilt it on the host.
            "lablup/python:3.8-ubuntu18.04": of("2022-05-05T00:00:00Z", python, "python3.8-local"),
            "registry.example.com/tools/exporter:1": Image([have["base"], have["exporter"]], old, {}),
        },
    }


class Registry:
    def __init__(self, url):
        self.url = url
        self.open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def call(self, method, path, data=None, headers=None):
        url = path if path.startswith("http") else self.url + path
        return self.open(urllib.request.Request(url, data, headers or {}, method=method), timeout=60)

    def has(self, path, headers=None):
        try:
            return self.call("HEAD", path, headers=headers).headers.get("Docker-Content-Digest") or True
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def push(self, reference, image):
        repository, tag = reference.split(":")
        at = f"/v2/{repository}/manifests/{tag}"
        if self.has(at, {"Accept": MANIFEST}) == digest(image.manifest):
            return
        for data in [part.blob for part in image.layers] + [image.config]:
            if not self.has(f"/v2/{repository}/blobs/{digest(data)}"):
                upload = self.call("POST", f"/v2/{repository}/blobs/uploads/", b"").headers["Location"]
                upload += ("&" if "?" in upload else "?") + "digest=" + digest(data)
                self.call("PUT", upload, data, {"Content-Type": "application/octet-stream"})
        self.call("PUT", at, image.manifest, {"Content-Type": MANIFEST})


def save(path, reference, image):
    """An archive as `docker load` reads it; gives the same image ID each time."""
    name = digest(image.config)[7:] + ".json"
    files = {name: image.config}
    for part in image.layers:
        files[part.diff_id[7:] + "/layer.tar"] = part.tar
    files["manifest.json"] = json.dumps([{
        "Config": name, "RepoTags": [reference],
        "Layers": [part.diff_id[7:] + "/layer.tar" for part in image.layers],
    }]).encode()
    with open(path, "wb") as file:
        file.write(tar_of(files))


def main():
    images = build()
    if sys.argv[1] == "save":
        for reference, image in images["local"].items():
            save(os.path.join(sys.argv[2], reference.split("/")[-1].split(":")[0] + ".tar"), reference, image)
        return
    for name, url in (("hub", sys.argv[2]), ("cr", sys.argv[3])):
        registry = Registry(url)
        for reference, image in images[name].items():
            registry.push(reference, image)
    catalog = {
        where: {reference: {"config_digest": digest(image.config), "digest": digest(image.manifest),
                            "size_bytes": image.size(), "labels": image.labels}
                for reference, image in found.items()}
        for where, found in images.items()
    }
    with open(sys.argv[4], "w") as file:
        json.dump(catalog, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
