#!/usr/bin/env bash
# The long studies: how often intervals and verdicts err where the truth is known. Each fails if it breaks the bound that
# stands beside it, which was stated before the study was first run; seeds are fixed. Hours on a small machine. At last the
# verdicts on real gateways, which need nginx and HAProxy.
#
#   scripts/nightly.sh              all of them
#   scripts/nightly.sh gate sweep   those whose names contain one of the words
set -uo pipefail
cd "$(dirname "$0")/.."

# name | path of the ignored tests | bound
studies=(
  "intervals    | core::stats::coverage::     | medians covered in 90 to 99 %, means in 80 % or more (rare bursts), P99s wrong in at most 5 %"
  "compare      | judge::compare::study::     | tables of equal servers with a better or worse row: 5 % + 2.33 standard errors"
  "gate         | judge::gate::study::        | equal servers failed: at most 18 of 200, extended or not"
  "start-effects| judge::start_study::        | gates, comparisons, A/Bs and sweeps of equal servers whose starts differ: wrong in 5 % + 3 standard errors"
  "search       | judge::search::study::      | intervals of 400 searches on each of five laws that hold the boundary: 367 or more; none wrongly never saturated"
)

wanted() {
  local name=$1
  shift
  [ "$#" -eq 0 ] && return 0
  for word in "$@"; do [[ $name == *"$word"* ]] && return 0; done
  return 1
}

failed=0
for study in "${studies[@]}"; do
  IFS='|' read -r name path bound <<<"$study"
  name=${name// /} path=${path// /}
  wanted "$name" "$@" || continue
  echo "== $name:$bound"
  cargo test --release --quiet --lib -- --ignored --nocapture "$path" || { echo "== $name FAILED"; failed=1; }
done
if wanted gateways "$@"; then
  echo "== gateways: what nginx and HAProxy make of a stream has the expected verdicts"
  scripts/gateways.sh || { echo "== gateways FAILED"; failed=1; }
fi
exit "$failed"
