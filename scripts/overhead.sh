#!/usr/bin/env bash
# What measuring costs, and how far the measurement is from the truth. Needs Linux, two cores and Python 3.
#
#   scripts/overhead.sh                  servegauge and the floor side by side (add --help for more)
#   scripts/overhead.sh memory           peak memory: 1,000 and 4,000 tokens a stream, then by requests saved with details
#   scripts/overhead.sh many             peak memory and CPU of one and of two processes by requests; --requests 10000000 too
#   scripts/overhead.sh pacing           lag, and the arrivals as the server saw them; then beside long answers
#   scripts/overhead.sh scraping         what reading the server's metrics meanwhile does to latencies
#   scripts/overhead.sh start            how long a run of one request takes
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet --bin servegauge --example floor
exec python3 -B scripts/overhead "$@"
