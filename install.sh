#!/bin/sh
# Installs the published servegauge of this machine's kind:
#
#   curl -fsSL https://github.com/OWNER/servegauge/releases/latest/download/install.sh | sh
#
# INSTALL_DIR      the folder to install into [default: ~/.local/bin]
# INSTALL_VERSION  the version, such as 0.1.0 [default: the latest]
# INSTALL_URL      the folder with the archives and SHA256SUMS [default: the release's]
set -eu

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

target() {
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) echo x86_64-unknown-linux-gnu ;;
    Linux-aarch64 | Linux-arm64) echo aarch64-unknown-linux-gnu ;;
    Darwin-x86_64) echo x86_64-apple-darwin ;;
    Darwin-arm64) echo aarch64-apple-darwin ;;
    *) fail "no program is published for $(uname -s) on $(uname -m): cargo install servegauge builds one" ;;
  esac
}

fetch() {
  if command -v curl > /dev/null; then curl -fsSL -o "$2" "$1"; else wget -q -O "$2" "$1"; fi || fail "cannot read $1"
}

checksum() {
  if command -v sha256sum > /dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# A function, so that nothing runs if the download of this script breaks off.
main() {
  folder=${INSTALL_DIR:-$HOME/.local/bin}
  release=https://github.com/OWNER/servegauge/releases
  if [ -n "${INSTALL_VERSION:-}" ]; then
    url=$release/download/v$INSTALL_VERSION
  else
    url=$release/latest/download
  fi
  url=${INSTALL_URL:-$url}
  target=$(target)
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT

  fetch "$url/SHA256SUMS" "$work/SHA256SUMS"
  archive=$(sed -n "s/^[0-9a-f]*  \(servegauge-.*-$target\.tar\.gz\)$/\1/p" "$work/SHA256SUMS" | head -n 1)
  [ -n "$archive" ] || fail "$url has no archive for $target"
  fetch "$url/$archive" "$work/$archive"
  expected=$(sed -n "s/^\([0-9a-f]*\)  $archive$/\1/p" "$work/SHA256SUMS")
  found=$(checksum "$work/$archive")
  [ "$expected" = "$found" ] || fail "$archive is damaged: its SHA-256 is $found, not $expected"

  tar -xzf "$work/$archive" -C "$work"
  mkdir -p "$folder"
  cp "$work/${archive%.tar.gz}/servegauge" "$folder/servegauge"
  chmod 755 "$folder/servegauge"
  "$folder/servegauge" --version
  echo "installed as $folder/servegauge" >&2
  case ":$PATH:" in
    *":$folder:"*) ;;
    *) echo "add $folder to your PATH" >&2 ;;
  esac
}

main
