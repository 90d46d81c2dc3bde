#!/bin/sh
# Installs one part alone, with its pinned dependencies: install.sh server|worker FOLDER
# FOLDER becomes a virtual environment; one that is there is replaced.
set -eu
[ $# = 2 ] || { echo "usage: $0 server|worker FOLDER" >&2; exit 2; }
part=$1 folder=$2
case $part in
    server) package=server ;;
    worker) package=tasks ;;
    *) echo "usage: $0 server|worker FOLDER" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)

sh "$root/deploy/local/venv.sh" "${PYTHON:-python3}" "$folder"
pip="$folder/bin/python -m pip --disable-pip-version-check --quiet"
$pip install --require-hashes -r "$root/deploy/requirements/$part.txt"
# The library, from a copy: building leaves files behind. The application beside it.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -R "$root/setup.cfg" "$root/pyproject.toml" "$root/README.md" "$root/LICENSE" "$root/nowait" "$copy"
$pip install --no-deps "$copy"
cp -R "$root/$package" "$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
