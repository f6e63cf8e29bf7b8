#!/usr/bin/env bash
# make-venv DIR REQUIREMENTS [PIP OPTION ...]: makes (or brings up to date) the virtual environment DIR with what
# REQUIREMENTS names.
#
# The packages are installed by the pip of $PYTHON (python3 by default), so this also works where the system's Python
# comes without ensurepip, as on Debian and Ubuntu. Does nothing when DIR was made from the same requirements already.
set -euo pipefail
dir=$1 requirements=$2
shift 2
python=${PYTHON:-python3}

if cmp -s "$requirements" "$dir/made-from.txt" && "$dir/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
fail() {
    echo "make-venv: error: $*" >&2
    exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" --version 2>&1); $requirements needs Python 3.11 or newer: make PYTHON=/path/to/python3"
"$python" -m pip --version >/dev/null || fail "$python has no pip (on Debian and Ubuntu: apt-get install python3-pip)"

echo "making $dir from $requirements"
rm -rf "$dir"
"$python" -m venv --without-pip "$dir"
packages=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: --target "$packages" "$@" -r "$requirements"
# Written last: it marks a complete environment.
cp "$requirements" "$dir/made-from.txt"
