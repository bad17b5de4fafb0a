#!/usr/bin/env bash
# Builds the wheel into dist/, with glibc 2.17 as the oldest that it runs on. Needs `pip install maturin ziglang`; zig
# links against the old glibc.
#
#   scripts/build-wheel.sh                         the dist profile, as published
#   scripts/build-wheel.sh --profile release       quicker to build; any flags of `maturin build`
set -euo pipefail
cd "$(dirname "$0")/.."

command -v maturin > /dev/null || {
  echo "no maturin: python3 -m venv .venv && . .venv/bin/activate && pip install maturin ziglang" >&2
  exit 2
}
linux=()
# macOS has no glibc, and its own linker.
[ "$(uname)" = Linux ] && linux=(--zig --compatibility manylinux2014)
maturin build "${linux[@]}" --out dist "$@"
ls -l dist
