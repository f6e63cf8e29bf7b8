#!/usr/bin/env python3
"""Shares a cache with the real huggingface_hub: each finds what the other has downloaded, without a connection. And
downloads over TLS, with a certificate that the system trusts and with one that it does not.

    make hub-check     (or: python tests/hub_check.py --binary target/debug/worldpm-ort --server .../hub_server)

The hub is examples/hub_server.rs, on loopback. Needs huggingface_hub and trustme.
"""

import argparse
import json
import os
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path

import trustme
from check_support import SHAPE, Checks, forget_variables, hub

ID = "Owner/Tiny-RM"
# What a repository has besides and an export does not need.
OTHERS = ["README.md", "pytorch_model.bin", "model.gguf"]
check = Checks("hub_check", verbose=True)


def run(*command, **env):
    result = attempt(*command, **env)
    check(f"{Path(command[0]).name} {' '.join(map(str, command[1:2]))} succeeds {env or ''}: {result.stderr.strip()}",
          result.returncode == 0)


def attempt(*command, **env):
    return subprocess.run(command, env=os.environ | env, stderr=subprocess.PIPE, text=True)


def tree(folder):
    """Every file and link below a folder, with its bytes or its target."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and path.name != "CACHEDIR.TAG"
    }


def compare(binary, endpoint, work, repository):
    os.environ |= {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(work / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    # It reads these variables when it is imported.
    import huggingface_hub

    ours, theirs = work / "ours", work / "theirs"
    export = [binary, "export", "--checkpoint", ID, "--out"]
    run(*export, work / "bundle-ours", HF_HUB_CACHE=str(ours))
    needed = sorted(path.name for path in repository.iterdir() if path.name not in OTHERS)

    snapshot = Path(huggingface_hub.snapshot_download(ID, cache_dir=ours, local_files_only=True))
    check("snapshot_download(local_files_only=True) finds our files", sorted(os.listdir(snapshot)) == needed)
    for name in needed:
        path = huggingface_hub.hf_hub_download(ID, name, cache_dir=ours, local_files_only=True)
        same = Path(path).read_bytes() == (repository / name).read_bytes()
        check(f"hf_hub_download(local_files_only=True) reads {name}", same)
        found = huggingface_hub.try_to_load_from_cache(ID, name, cache_dir=ours)
        check(f"try_to_load_from_cache finds {name}", found == path)
    scan = huggingface_hub.scan_cache_dir(ours)
    repo = next(iter(scan.repos))
    check("scan_cache_dir finds one repository, one revision and no fault",
          len(scan.repos) == len(repo.revisions) == 1 and repo.repo_id == ID and not scan.warnings)

    before = tree(ours / "models--Owner--Tiny-RM" / "blobs")
    huggingface_hub.snapshot_download(ID, cache_dir=ours, allow_patterns=needed)
    after = tree(ours / "models--Owner--Tiny-RM" / "blobs")
    check("snapshot_download downloads nothing that we have", before == after)

    path = Path(huggingface_hub.snapshot_download(ID, cache_dir=theirs, allow_patterns=needed))
    check("huggingface_hub and we take the same commit", path.name == snapshot.name)
    folders = [cache / "models--Owner--Tiny-RM" for cache in (ours, theirs)]
    for part in ["blobs", "refs", "snapshots"]:
        check(f"huggingface_hub makes the same {part}", tree(folders[0] / part) == tree(folders[1] / part))

    run(*export, work / "bundle-theirs", HF_HUB_CACHE=str(theirs), HF_HUB_OFFLINE="1")
    manifests = [json.loads((work / name / "manifest.json").read_text()) for name in ("bundle-ours", "bundle-theirs")]
    for manifest in manifests:
        manifest["weights"].pop("directory")
    check("the export from huggingface_hub's cache, offline, is the same", manifests[0] == manifests[1])


def relay(source, sink):
    """Passes on what comes, until the end."""
    try:
        while block := source.recv(1 << 16):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # either side may end the connection at any time


def tls_front(endpoint, authority):
    """A server on loopback that speaks TLS and passes everything on to the hub; returns its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = endpoint.removeprefix("http://").split(":")

    def serve():
        while True:
            plain, _ = listener.accept()
            try:
                client = context.wrap_socket(plain, server_side=True)
            except OSError:
                continue  # it does not trust the certificate
            upstream = socket.create_connection((host, int(port)))
            for ends in ((client, upstream), (upstream, client)):
                threading.Thread(target=relay, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return f"https://127.0.0.1:{listener.getsockname()[1]}"


def over_tls(binary, endpoint, work):
    authority = trustme.CA()
    trusted = work / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    env = {"HF_ENDPOINT": tls_front(endpoint, authority), "HF_HUB_CACHE": str(work / "tls")}
    export = [binary, "export", "--checkpoint", ID, "--out", work / "bundle-tls"]

    result = attempt(*export, **env)
    check(f"a certificate of an unknown authority is refused: {result.stderr.strip()}",
          result.returncode == 1 and "SSL_CERT_FILE" in result.stderr and not (work / "tls").exists())
    run(*export, **env, SSL_CERT_FILE=str(trusted))
    same = (work / "bundle-tls/stage-00.onnx").read_bytes() == (work / "bundle-ours/stage-00.onnx").read_bytes()
    check("the export over TLS is the same", same)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--server", type=Path, required=True)
    args = parser.parse_args()
    binary, server = args.binary.resolve(), args.server.resolve()
    forget_variables("HF_")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        repository = work / "served" / ID
        run(binary, "synth", "--out", repository, *SHAPE)
        for name in OTHERS:
            (repository / name).write_text("not needed")
        with hub(server, work / "served") as endpoint:
            compare(binary, endpoint, work, repository)
            over_tls(binary, endpoint, work)


if __name__ == "__main__":
    main()
