#!/usr/bin/env python3
"""Fetches the pinned ONNX Runtime library into this project's git-ignored `.onnxruntime/` folder.

The library is taken out of the official Python wheel: pip downloads it and checks its sha256 against
scripts/onnxruntime.txt (scripts/onnxruntime-gpu.txt with --gpu, into `.onnxruntime-gpu/`). Nothing is installed.
Does nothing when the pinned version is there already.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The library does not depend on the Python version, so every Python takes it from the same wheel.
WHEEL_PYTHON, WHEEL_ABI = "3.12", "cp312"
WHEEL_PLATFORMS = {"x86_64": "manylinux_2_28_x86_64", "aarch64": "manylinux_2_28_aarch64"}
WANTED = re.compile(r"onnxruntime/(capi/libonnxruntime.*\.so[.\d]*|LICENSE|Privacy\.md|ThirdPartyNotices\.txt)")


def fail(message):
    sys.exit(f"fetch-onnxruntime: error: {message}")


def wheel_platform():
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    if platform.system() != "Linux" or machine not in WHEEL_PLATFORMS:
        fail(
            f"no pinned wheel for {platform.system()} {machine}. Install ONNX Runtime yourself "
            "and set ORT_DYLIB_PATH to its library file."
        )
    return WHEEL_PLATFORMS[machine]


def download(requirements, into):
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode != 0:
        fail(
            f"{sys.executable} has no pip. Install it (on Debian and Ubuntu: apt-get install python3-pip) "
            "or name another Python: make PYTHON=/path/to/python3"
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--python-version", WHEEL_PYTHON]
    command += ["--implementation", "cp", "--abi", WHEEL_ABI, "--platform", wheel_platform()]
    command += ["--dest", str(into), "-r", str(requirements)]
    if subprocess.run(command).returncode != 0:
        fail(
            f"pip could not download the wheel that {requirements.relative_to(ROOT)} names, or its sha256 differs "
            "(pip's own message is above). Nothing was changed."
        )
    return next(into.glob("*.whl"))


def unpack(wheel, version, into):
    with zipfile.ZipFile(wheel) as archive:
        for name in filter(WANTED.fullmatch, archive.namelist()):
            target = into / Path(name).name
            with archive.open(name) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
            target.chmod(0o755 if ".so" in target.name else 0o644)
    library = f"libonnxruntime.so.{version}"
    if not (into / library).is_file():
        fail(f"{wheel.name} holds no {library}")
    # The short name is what programs look for; the one with the major version is the library's own (its soname).
    (into / "libonnxruntime.so").symlink_to(library)
    (into / "libonnxruntime.so.1").symlink_to(library)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="the build with CUDA and TensorRT providers (250 MB)")
    gpu = parser.parse_args().gpu
    requirements = ROOT / "scripts" / ("onnxruntime-gpu.txt" if gpu else "onnxruntime.txt")
    folder = ROOT / (".onnxruntime-gpu" if gpu else ".onnxruntime")
    pin = requirements.read_text()
    package, version = re.search(r"^(onnxruntime[-\w]*)==(\S+)", pin, re.MULTILINE).groups()

    # The pin, written last, marks a complete folder: another version or other hashes mean fetching anew.
    stamp = folder / "pin.txt"
    if stamp.is_file() and stamp.read_text() == pin and (folder / "libonnxruntime.so").is_file():
        print(f"{folder.name}/ holds {package} {version} already")
        return
    print(f"fetching {package} {version} into {folder.name}/", flush=True)
    with tempfile.TemporaryDirectory(prefix=".onnxruntime.tmp-", dir=ROOT) as temporary:
        wheels, fresh = Path(temporary, "wheel"), Path(temporary, "fresh")
        fresh.mkdir()
        unpack(download(requirements, wheels), version, fresh)
        (fresh / "pin.txt").write_text(pin)
        if folder.exists():
            os.rename(folder, Path(temporary, "old"))
        os.rename(fresh, folder)
    for path in sorted(folder.glob("libonnxruntime*")):
        if not path.is_symlink():
            print(f"  {folder.name}/{path.name}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
