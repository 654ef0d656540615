"""An image of one layer as an archive: an OCI layout, with the manifest.json by which `docker load` reads it.

The same files and the same time give the same bytes: entries are sorted, owned by root and of one time, and
compression writes neither a name nor a clock.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import tarfile
import time

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclasses.dataclass(frozen=True)
class File:
    content: bytes
    mode: int = 0o644


@dataclasses.dataclass(frozen=True)
class Image:
    """What a runtime is told, and what it finds; paths have no slash at the start."""

    name: str
    version: str
    architecture: str
    config: dict
    files: dict[str, File]
    seconds: int

    @property
    def size(self) -> int:
        """Of the layer as it lies on a node's disk."""
        return len(layer(self.files, self.seconds))


@dataclasses.dataclass(frozen=True)
class Blob:
    kind: str
    content: bytes

    @property
    def hex(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def path(self) -> str:
        return f"blobs/sha256/{self.hex}"

    @property
    def descriptor(self) -> dict:
        return {"mediaType": self.kind, "digest": f"sha256:{self.hex}", "size": len(self.content)}


def layer(files: dict[str, File], seconds: int) -> bytes:
    """Directories are what the paths need."""
    directories = {str(parent) for path in files for parent in pathlib.PurePosixPath(path).parents} - {"."}
    entries = [(path, None) for path in directories] + list(files.items())
    return tar(sorted(entries, key=lambda entry: entry[0]), seconds)


def tar(entries, seconds: int) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, file in entries:
            entry = tarfile.TarInfo(path)
            entry.mtime = seconds
            entry.type = tarfile.DIRTYPE if file is None else tarfile.REGTYPE
            entry.mode = 0o755 if file is None else file.mode
            entry.size = 0 if file is None else len(file.content)
            archive.addfile(entry, None if file is None else io.BytesIO(file.content))
    return written.getvalue()


def squeezed(content: bytes) -> bytes:
    written = io.BytesIO()
    # gzip.compress writes another header since Python 3.11.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=written, mtime=0) as stream:
        stream.write(content)
    return written.getvalue()


def text(content) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def stamp(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def blobs(image: Image) -> tuple[Blob, Blob, Blob]:
    """Manifest, configuration and layer."""
    unpacked = layer(image.files, image.seconds)
    packed = Blob(LAYER, squeezed(unpacked))
    created = stamp(image.seconds)
    config = Blob(
        CONFIG,
        text(
            {
                "architecture": image.architecture,
                "os": "linux",
                "created": created,
                "config": image.config,
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"]},
                "history": [{"created": created, "created_by": "k8s/image/build"}],
            }
        ),
    )
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor, "layers": [packed.descriptor]}
    return Blob(MANIFEST, text(manifest)), config, packed


def digest(image: Image) -> str:
    return f"sha256:{blobs(image)[0].hex}"


def archive(image: Image) -> bytes:
    """As `docker load`, `podman load` and `ctr images import` take it."""
    manifest, config, packed = blobs(image)
    named = {
        # containerd reads the first, and everything else the second.
        "io.containerd.image.name": f"docker.io/{image.name}:{image.version}",
        "org.opencontainers.image.ref.name": image.version,
    }
    platform = {"architecture": image.architecture, "os": "linux"}
    described = {**manifest.descriptor, "platform": platform, "annotations": named}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]}
    for_docker = {"Config": config.path, "RepoTags": [f"{image.name}:{image.version}"], "Layers": [packed.path]}
    files = {
        "oci-layout": File(LAYOUT),
        "index.json": File(text(index)),
        "manifest.json": File(text([for_docker])),
        **{blob.path: File(blob.content) for blob in (manifest, config, packed)},
    }
    return layer(files, image.seconds)
