#!/bin/sh
# Installs the npm packages of the end-to-end tests as locked: install.sh [DIRECTORY]
# The directory is $BUILD/npm unless given, and BUILD is build/ of the project. Nothing is done twice.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=${1:-${BUILD:-$here/../../../build}/npm}

mkdir -p "$target"
exec 9>"$target/.lock"
flock 9
cmp -s "$here/package-lock.json" "$target/node_modules/.installed" && exit 0

command -v npm >/dev/null || {
	echo "npm is missing: install the Debian package npm" >&2
	exit 1
}
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$target/"
cd "$target"
# Not `npm ci`: it refuses a lock that leaves out optional packages of other platforms.
npm install --no-audit --no-fund --loglevel=error >&2
cp "$here/package-lock.json" node_modules/.installed
