#!/usr/bin/env bash
# What a gateway makes of a stream, and what we say of it: the simulator directly, and through nginx and HAProxy with their
# defaults and with buffering turned off. A table of means with the verdict, then `compare` of direct against each default.
# Needs nginx, haproxy and Python 3; about two minutes. Exits 1 if a verdict is not the expected one.
#
#   scripts/gateways.sh [FIRST OF SIX PORTS, default: 18500]
set -euo pipefail
cd "$(dirname "$0")/.."
program=${SERVEGAUGE:-target/release/servegauge}
[ -n "${SERVEGAUGE:-}" ] || cargo build --release --quiet --bin servegauge
port=${1:-18500}
here=$(mktemp -d)
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$here"' EXIT

"$program" sim --port "$port" --served-model-name '*' --step-time 12ms 2>"$here/sim.log" & started+=($!)

cat >"$here/nginx.conf" <<CONF
daemon off; pid $here/nginx.pid; error_log $here/nginx.log;
events {}
http {
  access_log off; client_body_temp_path $here/b; proxy_temp_path $here/p; fastcgi_temp_path $here/f;
  uwsgi_temp_path $here/u; scgi_temp_path $here/s;
  server { listen 127.0.0.1:$((port + 1)); location / { proxy_pass http://127.0.0.1:$port; } }
  server { listen 127.0.0.1:$((port + 2)); location / { proxy_pass http://127.0.0.1:$port; proxy_buffering off; } }
}
CONF
nginx -c "$here/nginx.conf" 2>"$here/nginx.err" & started+=($!)

cat >"$here/haproxy.cfg" <<CONF
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen default
  bind 127.0.0.1:$((port + 3))
  server sim 127.0.0.1:$port
listen nodelay
  bind 127.0.0.1:$((port + 4))
  option http-no-delay
  server sim 127.0.0.1:$port
CONF
haproxy -f "$here/haproxy.cfg" 2>"$here/haproxy.err" & started+=($!)

names=(direct nginx-default nginx-off haproxy-default haproxy-no-delay)
for at in "${!names[@]}"; do
  until curl -sf -o "$here/models" "http://127.0.0.1:$((port + at))/v1/models"; do sleep 0.1; done
  "$program" run --base-url "http://127.0.0.1:$((port + at))" --model simulated --backend openai-chat --dataset-name random \
    --random-input-len 64 --random-output-len 64 --ignore-eos --num-prompts 120 --request-rate 10 --seed "$at" \
    --disable-tqdm --allow-invalid --save-detailed --metric-percentiles 50 --result-filename "$here/${names[at]}.json" \
    >"$here/${names[at]}.txt"
done

python3 -B - "$here" "${names[@]}" <<'TABLE'
import json, sys
folder, names = sys.argv[1], sys.argv[2:]
print("gateway            TTFT ms  TPOT ms  E2E ms   zero gaps  verdict")
wrong = 0
for name in names:
    run = json.load(open(f"{folder}/{name}.json"))
    gaps = [gap for gaps in run["itls"] for gap in gaps]
    zero = sum(gap == 0 for gap in gaps) / len(gaps)
    bursts = next(check for check in run["servegauge"]["validity"]["checks"] if check["name"] == "bursts")
    verdict = "bursts: " + bursts["outcome"]
    expected = "invalid" if "default" in name else "passed"
    if bursts["outcome"] != expected:
        verdict, wrong = f"{verdict}, expected {expected}", 1
    means = [run[f"mean_{key}_ms"] for key in ("ttft", "tpot", "e2el")]
    print(f"{name:17}  {means[0]:7.1f}  {means[1]:7.2f}  {means[2]:7.1f}  {zero:8.1%}  {verdict}")
sys.exit(wrong)
TABLE
for name in nginx-default haproxy-default; do
  printf '\n=== servegauge compare direct %s\n' "$name"
  "$program" compare "$here/direct.json" "$here/$name.json" || [ $? -eq 3 ]
  tail -n 4 "$here/$name.txt"
done
