#!/usr/bin/env bash
# Checks `servegauge dashboard` with real tools: promtool on both versions' files, and a real Prometheus that scrapes the
# simulator during a run and must have data for every expression of both boards but speculative decoding's, which the simulator does not do.
# Needs promtool and prometheus (Debian: apt-get install prometheus), curl and python3.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in promtool prometheus curl python3; do
  command -v "$tool" >/dev/null || { echo "$tool is missing (Debian: apt-get install prometheus curl python3)" >&2; exit 2; }
done
cargo build --quiet
program=target/debug/servegauge
folder=$(mktemp -d)
children=()
finish() {
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT

sim_port=${SIM_PORT:-18431}
prometheus_port=${PROMETHEUS_PORT:-18432}
for version in vllm-0.6 vllm-1; do
  "$program" dashboard --out "$folder/$version" --for "$version" --base-url "http://127.0.0.1:$sim_port"
  promtool check config "$folder/$version/prometheus.yml"
  promtool check rules "$folder/$version/alerts.yml"
done

gunzip -c datasets/tokenizer.json.gz >"$folder/tokenizer.json"
"$program" sim --port "$sim_port" --served-model-name '*' 2>"$folder/sim.log" &
children+=($!)
client_port=${CLIENT_PORT:-18433}
sed -i "s/interval: 5s/interval: 1s/; s/localhost:19400/127.0.0.1:$client_port/" "$folder/vllm-1/prometheus.yml"
prometheus --config.file="$folder/vllm-1/prometheus.yml" --storage.tsdb.path="$folder/tsdb" \
  --web.listen-address="127.0.0.1:$prometheus_port" >"$folder/prometheus.log" 2>&1 &
children+=($!)
for _ in $(seq 100); do
  curl -fs "http://127.0.0.1:$prometheus_port/-/ready" >/dev/null && break
  sleep 0.2
done
"$program" run --base-url "http://127.0.0.1:$sim_port" --dataset-name sharegpt --tokenizer "$folder" --num-prompts 200 --request-rate 20 \
  --metrics-listen "127.0.0.1:$client_port" --allow-invalid --disable-tqdm >/dev/null 2>"$folder/run.log" || { cat "$folder/run.log" >&2; exit 1; }

# The simulator's page has the names of all versions.
for version in vllm-0.6 vllm-1; do
  python3 - "$folder/$version/grafana.json" "http://127.0.0.1:$prometheus_port" <<'PY'
import json, sys, urllib.parse, urllib.request

board, server = json.load(open(sys.argv[1])), sys.argv[2]
print(board["title"])
empty = 0
for panel in board["panels"]:
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", "15s").replace("$instance", ".*").replace("$model", ".*")
        query = server + "/api/v1/query?" + urllib.parse.urlencode({"query": expr})
        result = json.load(urllib.request.urlopen(query))["data"]["result"]
        # The simulator drafts no tokens: there the expression must only be valid.
        wanted = panel["title"] != "Speculative decoding"
        values = [point["value"][1] for point in result]
        print(f"{panel['title']:24} {target['legendFormat']:28} {values or 'no data'}")
        empty += wanted and not values
sys.exit(1 if empty else 0)
PY
done
echo "ok: promtool has no objection, and every expression has data"
