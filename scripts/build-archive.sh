#!/usr/bin/env bash
# Packs the program of a wheel into dist/ as servegauge-VERSION-TARGET.tar.gz, with manual pages and completions, and
# writes its checksum into dist/SHA256SUMS.
#
#   scripts/build-archive.sh [WHEEL [TARGET]]     default: the newest wheel in dist/, and this machine's target
set -euo pipefail
cd "$(dirname "$0")/.."

wheel=${1:-$(ls -t dist/*.whl | head -1)}
target=${2:-$(rustc -vV | sed -n 's/^host: //p')}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=servegauge-$version-$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m zipfile -e "$wheel" "$work/wheel"
mkdir -p "$work/$name/completions"
program=$work/$name/servegauge
cp "$work"/wheel/servegauge-*.data/scripts/servegauge "$program"
chmod 755 "$program"
cp LICENSE README.md "$work/$name"
"$program" man --dir "$work/$name/man/man1"
for shell in bash elvish fish powershell zsh; do
  "$program" completions "$shell" > "$work/$name/completions/servegauge.$shell"
done

# The same bytes for the same program: no owner, and the commit's time.
time=$(git log -1 --format=%ct 2> /dev/null || echo 0)
tar=tar
command -v gtar > /dev/null && tar=gtar
"$tar" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" -C "$work" -c "$name" | gzip -n9 > "dist/$name.tar.gz"

cd dist
sums=sha256sum
command -v sha256sum > /dev/null || sums="shasum -a 256"
touch SHA256SUMS
{ grep -v " $name.tar.gz$" SHA256SUMS || true; $sums "$name.tar.gz"; } > SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
ls -l "$name.tar.gz"
