#!/bin/sh
# Makes a virtual environment: venv.sh PYTHON FOLDER
# Debian and Ubuntu keep ensurepip in a package of its own; it is installed when it is missing.
set -eu
python=$1 folder=$2

fail() { echo "$1" >&2; exit 2; }

command -v "$python" >/dev/null || fail "$python is missing. Install it: sudo apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version) is too old: Python 3.10 or newer is needed, name it with make PYTHON=python3.12"

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo='sudo -n'; else
        fail "Python's venv is missing. Install it: sudo apt-get install $package"
    fi
    echo "installing with apt: $package"
    $sudo apt-get -qq update
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 \
        install "$package" >/dev/null || fail "Python's venv is missing. Install it: sudo apt-get install $package"
fi
# Whatever else is there is not ours; folders alone are left of one that was cut off at once.
[ -f "$folder/pyvenv.cfg" ] || [ -z "$(find "$folder" ! -type d 2>/dev/null)" ] ||
    fail "$folder is no virtual environment: it is left as it is"
rm -rf "$folder"
"$python" -m venv "$folder"
touch "$folder/made"  # one that was cut off is made again
