#!/bin/sh
# Installs one part alone, with its pinned dependencies, or upgrades it: install.sh server|worker|migrate FOLDER
# FOLDER is a link to a virtual environment in FOLDER.versions/. A new one is built beside the old one, and the link
# is switched when it is whole; the version before it stays, and so does each that a process still runs from. Each part has
# a FOLDER of its own.
# OTEL=1 installs the packages for traces as well. SETUPTOOLS_SCM_PRETEND_VERSION is the version, where the tree does not
# know it, as without git.
set -eu
umask 022  # the services' users read it

fail() { echo "$1" >&2; exit 2; }

usage="usage: $0 server|worker|migrate FOLDER"
[ $# = 2 ] || fail "$usage"
part=$1
case $part in server) package=server ;; worker) package=tasks ;; migrate) package= ;; *) fail "$usage" ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
parent=$(dirname "$2") name=$(basename "$2")
folder=$parent/$name last=

if [ -h "$folder" ]; then
    last=$(readlink "$folder")
    case $last in "$name.versions"/*) ;; *) fail "$folder is a link to $last, no installation of Nowait: it is left as it is" ;; esac
elif [ -e "$folder" ]; then
    # Earlier versions made the environment in FOLDER itself.
    [ -f "$folder/pyvenv.cfg" ] && [ -f "$folder/made" ] ||
        fail "$folder is no installation of Nowait: it is left as it is"
    last=$name.versions/0
fi
is=
if [ -f "$folder/part" ]; then
    is=$(cat "$folder/part")
else
    # Earlier versions did not note it.
    for each in "$folder"/lib/python3*/site-packages/server; do [ ! -d "$each" ] || is=server; done
    for each in "$folder"/lib/python3*/site-packages/tasks; do [ ! -d "$each" ] || is=worker; done
fi
[ -z "$is" ] || [ "$is" = "$part" ] ||
    fail "$folder is an installation of: $is. Install $part into a folder of its own, such as $folder-$part"
versions=$folder.versions
[ ! -e "$versions" ] || [ -f "$versions/lock" ] || fail "$versions is not Nowait's: it is left as it is"
mkdir -p "$versions"
parent=$(cd "$parent" && pwd -P) folder=$parent/$name versions=$parent/$name.versions
exec 9>"$versions/lock"
flock -n 9 || fail "another installation into $folder is under way"

number=$(cd "$versions" && ls -d [0-9]* 2>/dev/null | sed 's/[^0-9].*//' | sort -n | tail -n 1)
new=$versions/$((${number:-0} + 1))
copy=$(mktemp -d)
trap 'rm -rf "$copy" "$new"' EXIT
trap 'exit 1' HUP INT TERM
sh "$root/deploy/local/venv.sh" "${PYTHON:-python3}" "$new"
pip() { "$new/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
set -- -r "$root/deploy/requirements/$part.txt"
[ "${OTEL:-0}" = 0 ] || set -- "$@" -r "$root/deploy/requirements/otel.txt"
pip install --require-hashes "$@"
# The library, from a copy: building leaves files behind. What builds it is pinned, too, and does not stay. The version is
# that of the tree's tag.
export PYTHONPATH="$copy/build"
pip install --require-hashes --target "$PYTHONPATH" -r "$root/deploy/requirements/build.txt"
[ -n "${SETUPTOOLS_SCM_PRETEND_VERSION:-}" ] ||
    SETUPTOOLS_SCM_PRETEND_VERSION=$(cd "$root" && "$new/bin/python" -m setuptools_scm)
export SETUPTOOLS_SCM_PRETEND_VERSION
mkdir "$copy/source"
cp -R "$root/setup.cfg" "$root/pyproject.toml" "$root/README.md" "$root/LICENSE" "$root/nowait" "$copy/source"
pip install --no-deps --no-build-isolation "$copy/source"
unset PYTHONPATH
# The application, where the part is one, beside it.
if [ -n "$package" ]; then
    site=$("$new/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cp -R "$root/$package" "$site"
    chmod -R a+rX "$site/$package"  # it has the modes of the tree, which may be one user's alone
fi
# By its own path: a process that were started through the link would import from the next version after a switch.
# Celery's command is like that anyway.
if [ "$part" = server ]; then
    printf '#!/bin/sh\nexec "%s/bin/python" -m server "$@"\n' "$new" >"$new/bin/nowait-server"
    chmod 755 "$new/bin/nowait-server"
fi

echo "$part" >"$new/part"

# From here on, nothing ends it in between: the new version would be deleted with the link on it.
trap '' HUP INT TERM
ln -s "$name.versions/${new##*/}" "$new.link"
[ "$last" != "$name.versions/0" ] || [ -h "$folder" ] || mv -T "$folder" "$versions/0"
mv -T "$new.link" "$folder"
trap 'rm -rf "$copy"' EXIT
for old in "$versions"/[0-9]*; do
    case $old in "$new" | "$parent/$last") continue ;; esac
    # Processes that have not been started again since may run from a version before the last one.
    cat /proc/[0-9]*/maps 2>/dev/null | grep -qF " $old/" || rm -rf "$old"
done
