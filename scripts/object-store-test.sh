#!/usr/bin/env bash
# Record logs in a real S3 server: four clients send a run and write their logs to a bucket of moto's server; one is killed, and
# `merge` makes a result of what the bucket has. Needs Python 3 with moto (`pip install 'moto[server]'`), or MOTO_SERVER=PATH;
# without it, everything is skipped by name.
#
#   scripts/object-store-test.sh     SERVEGAUGE=PROGRAM tests that program, which has the feature object-store
set -euo pipefail
cd "$(dirname "$0")/.."
moto=${MOTO_SERVER:-$(command -v moto_server || true)}
[ -n "$moto" ] || { echo "SKIPPED everything: no moto_server"; exit 0; }
program=${SERVEGAUGE:-target/release/servegauge}
[ -n "${SERVEGAUGE:-}" ] || cargo build --release --quiet --features object-store --bin servegauge
program=$(realpath "$program")
datasets=$PWD/datasets
unset SERVEGAUGE

here=$(mktemp -d)
started=()
end() { kill "${started[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$here"; }
trap end EXIT
cd "$here"
export XDG_CACHE_HOME=$here/cache

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# The first requests need no credentials: they make the bucket and a user. Every later one is checked.
INITIAL_NO_AUTH_ACTION_COUNT=4 "$moto" -H 127.0.0.1 -p "$port" >moto.log 2>&1 & started+=($!)
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ALLOW_HTTP=true AWS_REGION=us-east-1
until curl -s -o /dev/null "$AWS_ENDPOINT_URL/moto-api/"; do sleep 0.2; done
iam() { curl -sf -d "Action=$1&Version=2010-05-08&$2" -H "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=b" "$AWS_ENDPOINT_URL/"; }
curl -sf -X PUT "$AWS_ENDPOINT_URL/records" >/dev/null
iam CreateUser UserName=load >/dev/null
iam PutUserPolicy "UserName=load&PolicyName=all&PolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D" >/dev/null
keys=$(iam CreateAccessKey UserName=load)
field() { sed -n "s:.*<$1>\(.*\)</$1>.*:\1:p" <<<"$keys"; }
AWS_ACCESS_KEY_ID=$(field AccessKeyId)
AWS_SECRET_ACCESS_KEY=$(field SecretAccessKey)
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY

gzip -dc "$datasets/tokenizer.json.gz" >tokenizer.json
"$program" sim --port 0 --served-model-name '*' --step-time 5ms 2>sim.log & started+=($!)
until url=$(grep -o 'http://[0-9.:]*' sim.log); do sleep 0.1; done
run=(run --base-url "$url" --dataset-name random --random-input-len 16 --random-output-len 8 --ignore-eos --seed 7
  --tokenizer tokenizer.json --allow-invalid --disable-tqdm --no-keep --records-to s3://records/nightly)
failed=0
verdict() { if [ "$1" = 0 ]; then echo "ok      $2"; else echo "FAILED  $2"; failed=1; fi; }
completed() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["completed"])' "$1"; }

"$program" "${run[@]}" --num-prompts 200 --request-rate 20 --local-shards 4 --out whole.json >whole.out 2>whole.err || cat whole.err
id=$(sed -n 's:.*records are at s3\://records/nightly/::p' whole.err | head -1)
"$program" merge s3://records/nightly --out merged.json --allow-invalid >/dev/null 2>merge.err || cat merge.err
[ "$(completed whole.json)" = 200 ] && [ "$(completed merged.json)" = 200 ] && code=0 || code=1
verdict "$code" "four shards: $(completed merged.json) requests from the bucket, $(completed whole.json) at shard 0"

"$program" "${run[@]}" --num-prompts 600 --request-rate 20 --local-shards 4 --out killed.json >killed.out 2>killed.err &
first=$!
until victim=$(pgrep -P "$first" -f -- --shard=2/4); do sleep 0.1; done
sleep 15
kill -KILL "$victim"
wait "$first" || true
code=0
"$program" merge s3://records/nightly >/dev/null 2>several.err || code=$?
[ "$code" = 2 ] && grep -q "2 runs" several.err && code=0 || code=1
verdict "$code" "two runs under one prefix: $(cat several.err)"
second=$(sed -n 's:.*records are at s3\://records/nightly/::p' killed.err | head -1)
"$program" merge "s3://records/nightly/$second" --out rest.json --allow-invalid >/dev/null 2>rest.err || cat rest.err
[ "$(completed rest.json)" -gt "$(completed killed.json)" ] && code=0 || code=1
verdict "$code" "a shard is killed: $(completed rest.json) of 600 requests are in the bucket, $(completed killed.json) came to shard 0"
grep -h "killed" rest.err || true

# refused NAME URL PART OF THE MESSAGE
refused() {
  local code=0
  "$program" merge "$2" >refused.out 2>refused.err || code=$?
  [ "$code" = 2 ] && [ "$(wc -l <refused.err)" = 1 ] && grep -q -- "$3" refused.err && ! grep -qF -- "$AWS_SECRET_ACCESS_KEY" refused.err && code=0 || code=1
  verdict "$code" "$1: $(cat refused.err)"
}
refused "no such prefix" s3://records/elsewhere "no records of a run"
refused "no such run" "s3://records/nightly/$id-none" "no records of a run"
refused "no such bucket" s3://nowhere/nightly "no bucket"
AWS_SECRET_ACCESS_KEY=wrong-key-sesame refused "a wrong key" s3://records/nightly denied
AWS_ENDPOINT_URL=http://no-such-host.invalid:9 refused "a host that does not resolve" s3://records/nightly "does not answer"
code=0
AWS_SECRET_ACCESS_KEY=wrong-key-sesame "$program" "${run[@]}" --num-prompts 8 >early.out 2>early.err || code=$?
[ "$code" = 2 ] && grep -q denied early.err && ! grep -q sesame early.err && code=0 || code=1
verdict "$code" "a wrong key ends a run before it sends anything: $(tail -1 early.err)"
exit "$failed"
