#!/usr/bin/env bash
# Two equal servers on a machine that gets busy: what comparing them one after the other says (A before, B during the
# disturbance), and what `servegauge ab` says with the disturbance beginning in its middle. Needs Linux, about three minutes.
#
#   scripts/disturbance.sh [BUSY LOOPS, default: two a core]
set -euo pipefail
cd "$(dirname "$0")/.."
program=${SERVEGAUGE:-target/release/servegauge}
[ -n "${SERVEGAUGE:-}" ] || cargo build --release --quiet --bin servegauge
loops=${1:-$((2 * $(nproc)))}
here=$(mktemp -d)
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; rm -rf "$here"' EXIT

serve() { # NAME: a simulated server on a free port; its address is in url
  "$program" sim --port 0 --served-model-name '*' 2>"$here/$1.log" &
  started+=($!)
  until url=$(grep -o 'http://.*' "$here/$1.log" 2>/dev/null); do sleep 0.1; done
}
serve a; a=$url
serve b; b=$url

# Whether the client keeps its schedule on such a machine is not the question here.
load=(--dataset-name random --random-input-len 64 --random-output-len 32 --ignore-eos --request-rate 15
  --disable-tqdm --allow-invalid)

once() { # URL SEED FILE
  "$program" run --base-url "$1" --seed "$2" "${load[@]}" --duration 32s --save-detailed --result-filename "$here/$3" >/dev/null
}

disturb() { # once four pairs are saved
  until [ -e "$here/saved/a/004.json" ] && [ -e "$here/saved/b/004.json" ]; do sleep 0.1; done
  local hogs=()
  for _ in $(seq "$loops"); do sh -c 'while :; do :; done' & hogs+=($!); done
  trap 'kill "${hogs[@]}"' TERM
  echo "--- from here on $loops busy loops are on $(nproc) cores" >&2
  wait
}

once "$a" 100 before.json
disturb & started+=($!)
"$program" ab --a "$a" --b "$b" --blocks 8 --block 4s --save "$here/saved" -- "${load[@]}"
once "$b" 101 during.json
printf '\n=== The same servers, A measured before the disturbance and B during it: servegauge compare\n'
"$program" compare --anyway "$here/before.json" "$here/during.json"
