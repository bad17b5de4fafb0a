#!/usr/bin/env bash
# Records in a real S3 server, that of moto. Four clients send a run and write their record logs to a bucket; one is killed, and
# `merge` makes a result of what the bucket has. Then runs write their requests there as Parquet, and at last the server dies in
# the middle of one. Needs Python 3 with moto and pyarrow (`pip install 'moto[server]' pyarrow`), or MOTO_SERVER=PATH in an
# environment that has both; what lacks them is skipped by name.
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
# The first requests need no credentials: they make the bucket and two users. Every later one is checked.
INITIAL_NO_AUTH_ACTION_COUNT=7 "$moto" -H 127.0.0.1 -p "$port" >moto.log 2>&1 & server=$!
started+=("$server")
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ALLOW_HTTP=true AWS_REGION=us-east-1
until curl -s -o /dev/null "$AWS_ENDPOINT_URL/moto-api/"; do sleep 0.2; done
iam() { curl -sf -d "Action=$1&Version=2010-05-08&$2" -H "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=b" "$AWS_ENDPOINT_URL/"; }
curl -sf -X PUT "$AWS_ENDPOINT_URL/records" >/dev/null
# user NAME ACTION makes a user who may do this, and prints the key
user() {
  iam CreateUser "UserName=$1" >/dev/null
  iam PutUserPolicy "UserName=$1&PolicyName=some&PolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A$2%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D" >/dev/null
  iam CreateAccessKey "UserName=$1"
}
field() { sed -n "s:.*<$1>\(.*\)</$1>.*:\1:p" <<<"$keys"; }
keys=$(user reader 'List%2A')
reader=$(field AccessKeyId) reader_secret=$(field SecretAccessKey)
keys=$(user load %2A)
AWS_ACCESS_KEY_ID=$(field AccessKeyId)
AWS_SECRET_ACCESS_KEY=$(field SecretAccessKey)
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY

gzip -dc "$datasets/tokenizer.json.gz" >tokenizer.json
"$program" sim --port 0 --served-model-name '*' --step-time 5ms 2>sim.log & started+=($!)
until url=$(grep -o 'http://[0-9.:]*' sim.log); do sleep 0.1; done
load=(run --base-url "$url" --dataset-name random --random-input-len 16 --random-output-len 8 --ignore-eos --seed 7
  --tokenizer tokenizer.json --allow-invalid --disable-tqdm --no-keep)
run=("${load[@]}" --records-to s3://records/nightly)
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
# The bucket has all requests of three shards. Of the fourth it has what shard 0 has, but for a part of five seconds at most.
[ "$(completed rest.json)" -gt 450 ] && [ "$(completed rest.json)" -gt $(($(completed killed.json) - 30)) ] && code=0 || code=1
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

# Requests as Parquet, while the run goes on.
python=
for candidate in "$(dirname "$moto")/python" python3; do
  if [ -z "$python" ] && "$candidate" -c 'import pyarrow' 2>/dev/null; then python=$candidate; fi
done
# objects ARGUMENTS: names PREFIX prints the names, rows PREFIX the numbers of rows, of different requests and of files
cat >objects.py <<'EOF'
import os, sys
import pyarrow.fs, pyarrow.parquet
store = pyarrow.fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"], region="us-east-1")
found = store.get_file_info(pyarrow.fs.FileSelector(sys.argv[2], allow_not_found=True))
files = sorted(file.path for file in found if file.path.endswith(".parquet"))
if sys.argv[1] == "names":
    print(*(os.path.basename(file) for file in files))
else:
    tables = [pyarrow.parquet.read_table(file, filesystem=store, columns=["ordinal"]) for file in files]
    ordinals = [ordinal for table in tables for ordinal in table["ordinal"].to_pylist()]
    print(len(ordinals), len(set(ordinals)), len(files))
EOF
objects() { "$python" objects.py "$@"; }

# unsaved NAME URL PART OF THE MESSAGE: a run that would write there sends nothing, and says why in a line
unsaved() {
  local code=0
  "$program" "${load[@]}" --num-prompts 8 --save-records "$2" --out unsaved.json >unsaved.out 2>unsaved.err || code=$?
  [ "$code" = 2 ] && [ "$(wc -l <unsaved.err)" = 1 ] && grep -q -- "$3" unsaved.err && [ ! -e unsaved.json ] &&
    ! grep -qF -e "$AWS_SECRET_ACCESS_KEY" -e sesame unsaved.err && code=0 || code=1
  verdict "$code" "$1: $(cat unsaved.err)"
}
AWS_SECRET_ACCESS_KEY=wrong-key-sesame unsaved "Parquet with a wrong key" s3://records/parquet/ denied
AWS_ACCESS_KEY_ID=$reader AWS_SECRET_ACCESS_KEY=$reader_secret unsaved "Parquet where one may only read" s3://records/parquet/ denied
unsaved "Parquet without a bucket" s3://nowhere/parquet/ "no bucket"
AWS_ENDPOINT_URL=http://no-such-host.invalid:9 unsaved "Parquet at a host that does not resolve" s3://records/parquet/ "does not answer"

if [ -z "$python" ]; then
  echo "SKIPPED runs with Parquet: no pyarrow"
  exit "$failed"
fi
# begin NAME FLAGS starts a run that writes to s3://records/NAME/, and waits for its first file
begin() {
  "$program" "${load[@]}" --num-prompts 200 --request-rate 20 --save-records "s3://records/$1/" --out "$1.json" "${@:2}" >"$1.out" 2>"$1.err" &
  first=$!
  until seen=$(objects names "records/$1") && [ -n "$seen" ] || ! kill -0 "$first" 2>/dev/null; do sleep 0.2; done
}
begin alone
kill -0 "$first" 2>/dev/null && code=0 || code=1
verdict "$code" "a file is complete while the run goes on: $seen"
wait "$first" || cat alone.err
read -r all different files <<<"$(objects rows records/alone)"
[ "$all $different $(completed alone.json)" = "200 200 200" ] && [ "$files" -gt 1 ] && code=0 || code=1
verdict "$code" "one client: $all rows in $files files, $(completed alone.json) requests: $(grep "of requests" alone.err)"
unsaved "a prefix that has files" s3://records/alone "Parquet files already"

begin shards --local-shards 2
wait "$first" || cat shards.err
read -r all different files <<<"$(objects rows records/shards)"
[ "$all $different $(completed shards.json)" = "200 200 200" ] &&
  objects names records/shards | grep -q "shard-000-part-00001.parquet.*shard-001-part-00001.parquet" && code=0 || code=1
verdict "$code" "two shards: $all rows in $files files: $(objects names records/shards)"

begin dies
read -r there _ files <<<"$(objects rows records/dies)"
disown "$server"
kill -KILL "$server"
began=$SECONDS code=0
wait "$first" || code=$?
missing=$(sed -n 's/^warning: \([0-9]*\) requests are missing.*/\1/p' dies.err)
[ "$code" = 0 ] && [ "$(completed dies.json)" = 200 ] && [ $((there + missing)) = 200 ] && code=0 || code=1
verdict "$code" "the server dies: $there requests are there, $missing are missing, $(completed dies.json) are in the result, $((SECONDS - began)) s later"
cat dies.err
! grep -qF -- "$AWS_SECRET_ACCESS_KEY" ./*.err ./*.out ./*.json && code=0 || code=1
verdict "$code" "no key is in any output"
exit "$failed"
