#!/usr/bin/env bash
# The long studies: how often intervals and verdicts err where the truth is known. Each fails if it violates the bound
# beside it, which was stated before the study was first run; seeds are fixed. Hours on a small machine. At last the
# verdicts on real gateways, which need nginx and HAProxy, and the predicted order of two routers.
#
#   scripts/nightly.sh              all of them
#   scripts/nightly.sh gate sweep   those whose names contain one of the words
#
# docs/honesty.md keeps the last output of each study, with its date and commit: commit that page with the run.
set -uo pipefail
cd "$(dirname "$0")/.."

# name | test binary | path of the ignored tests | bound
studies=(
  "intervals    | --lib     | testing::studies::intervals::     | medians covered in 90 to 99 %, means in 80 % or more (rare bursts), P99s wrong in at most 5 %"
  "compare      | --lib     | testing::studies::compare::       | tables of equal servers with a better or worse row: 5 % + 2.33 standard errors"
  "gate         | --lib     | testing::studies::gate::          | equal servers failed: at most 18 of 200, extended or not"
  "start-effects| --lib     | testing::studies::start_effects:: | gates, comparisons, A/Bs and sweeps of equal servers whose starts differ: wrong in 5 % + 3 standard errors"
  "search       | --lib     | testing::studies::search::        | of 400 searches on each of five service-time models, at least 367 intervals contain the true boundary; no search reports 'never saturated' for a server that saturates"
  "real-time    | --lib     | testing::studies::real_time::     | a real-time thread that never waits uses less than 94 % of its core, in the median of ten spans"
  "simulator    | --test it | search::                          | of 40 searches of a simulator in real time, at least 34 intervals contain its boundary"
)
gateways="what nginx and HAProxy make of a stream has the expected verdicts"
routers="each difference of means between two routers that is predicted has the measured sign, on a fleet of three simulators"

page=docs/honesty.md
fresh=$(mktemp -d)
trap 'rm -r "$fresh"' EXIT
commit=$(git log -1 --format=%h)
git diff --quiet HEAD -- . ":!$page" || commit="$commit with changes"

wanted() {
  local name=$1
  shift
  [ "$#" -eq 0 ] && return 0
  for word in "$@"; do [[ $name == *"$word"* ]] && return 0; done
  return 1
}

# Runs a study and writes its section of the page: record NAME BOUND COMMAND...
record() {
  local name=$1 bound=$2 begun=$SECONDS verdict=met
  shift 2
  echo "== $name: $bound"
  "$@" 2>&1 | tee "$fresh/output" || { verdict=VIOLATED failed=1; }
  echo "== $name: $verdict"
  {
    echo "Last run: $(date -u +%F), commit $commit, $((SECONDS - begun)) s on $(nproc) cores. The bound was **$verdict**."
    printf '\n```text\n'
    sed '/^$/d; /^running [0-9]* test/d; / has been running for over /d' "$fresh/output"
    printf '```\n'
  } >"$fresh/$name"
}

# Prints the section that the page has of a study, without its heading and bound.
section() {
  [ -e "$page" ] && awk -v heading="## $1" '
    /^## / { inside = $0 == heading; found = 0 }
    inside && /^(Last run|Not run)/ { found = 1 }
    found' "$page"
}

# Writes a study's heading, bound and last output: this run's, else the page's.
write_section() {
  local output
  if [ -e "$fresh/$1" ]; then output=$(cat "$fresh/$1"); else output=$(section "$1"); fi
  printf '\n## %s\n\nBound: %s.\n\n%s\n' "$1" "$2" "${output:-Not run yet.}"
}

write_page() {
  cat <<END
# How honest the verdicts are

These are the studies of \`scripts/nightly.sh\`, which writes this page: how often intervals and verdicts err where the truth
is known. Each bound was stated before its study was first run, and seeds are fixed.
[compare](compare.md) has the figures of \`scripts/honesty.sh\`, which does the same on real runs.
END
  for study in "${studies[@]}"; do
    IFS='|' read -r name _ _ bound <<<"$study"
    write_section "${name// /}" "${bound# }"
  done
  write_section gateways "$gateways"
  write_section routers "$routers"
}

failed=0
for study in "${studies[@]}"; do
  IFS='|' read -r name binary path bound <<<"$study"
  name=${name// /} path=${path// /}
  wanted "$name" "$@" || continue
  # shellcheck disable=SC2086 # the binary is one or two words
  record "$name" "${bound# }" cargo test --release --quiet $binary -- --ignored --nocapture "$path"
done
if wanted gateways "$@"; then record gateways "$gateways" scripts/gateways.sh; fi
if wanted routers "$@"; then record routers "$routers" scripts/router-order-test.py "${SERVEGAUGE:-target/release/servegauge}"; fi
write_page >"$fresh/page"
mv "$fresh/page" "$page"
exit "$failed"
