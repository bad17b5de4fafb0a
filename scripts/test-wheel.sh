#!/usr/bin/env bash
# Installs a wheel into an empty environment without network, and runs it.
#
#   scripts/test-wheel.sh [WHEEL]     default: the newest in dist/
set -euo pipefail
cd "$(dirname "$0")/.."

wheel=${1:-$(ls -t dist/*.whl | head -1)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-index "$wheel"
cd "$folder"
export XDG_CACHE_HOME=$folder/cache

expect() {
  local expected=$1
  shift
  local printed
  printed=$("$@")
  grep -q "$expected" <<< "$printed" || { echo "$*: no \`$expected\` in:" >&2; echo "$printed" >&2; exit 1; }
}

# Two requests a second make a run that a busy machine measures well.
run=(run --sim --num-prompts 20 --request-rate 10)
expect "Successful requests: *20" "$folder/env/bin/servegauge" "${run[@]}" --allow-invalid
expect "Successful requests: *20" "$folder/env/bin/python" -m servegauge "${run[@]}" --allow-invalid
expect "^servegauge $(sed -n 's/^version = "\(.*\)"/\1/p' "$OLDPWD/Cargo.toml" | head -1)" "$folder/env/bin/servegauge" --version
code=0
"$folder/env/bin/python" -m servegauge run --no-such-flag 2> /dev/null || code=$?
[ "$code" = 2 ] || { echo "python -m servegauge: exit code $code, not 2" >&2; exit 1; }
echo "$wheel: installed and run"
