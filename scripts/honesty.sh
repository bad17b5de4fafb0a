#!/usr/bin/env bash
# How honest compare and gate are on real runs: pairs of simulated servers, equal ones and slower ones. Needs Python 3.
#
#   scripts/honesty.sh                                   200 pairs of equal servers, a minute each at 20 requests a second
#   scripts/honesty.sh --slower 2,5,10,20 --pairs 40     how often a loss is found
#   scripts/honesty.sh --judge compare,gate              the same, by `servegauge gate` too (add --help for more)
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet --bin servegauge
exec python3 -B scripts/honesty "$@"
