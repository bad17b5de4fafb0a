#!/usr/bin/env bash
# Real launchers start the processes of one run, against a simulator: a Slurm cluster of four nodes on this machine, Open MPI
# and MPICH. Needs root and Debian's slurm-wlm, munge, openmpi-bin, mpich and python3; what is missing is skipped by name.
# Nothing of the system changes: the cluster is in a temporary folder, and the names of its nodes in a mount namespace.
#
#   scripts/cluster-test.sh        SERVEGAUGE=PROGRAM tests that program; default: target/release/servegauge
set -euo pipefail
cd "$(dirname "$0")/.."

skip() { echo "SKIPPED $*"; }
have() { local word; for word in "$@"; do command -v "$word" >/dev/null || { missing=$word; return 1; }; done; }

have python3 curl unshare || { skip "everything: no $missing"; exit 0; }
[ "$(id -u)" = 0 ] || { skip "everything: not root, which a mount namespace and slurmctld need"; exit 0; }
if [ -z "${SERVEGAUGE_CLUSTER_FOLDER:-}" ]; then
  export SERVEGAUGE_CLUSTER_FOLDER
  SERVEGAUGE_CLUSTER_FOLDER=$(mktemp -d)
  code=0
  unshare --mount "$0" || code=$?
  rm -rf "$SERVEGAUGE_CLUSTER_FOLDER"
  exit "$code"
fi

here=$SERVEGAUGE_CLUSTER_FOLDER
program=${SERVEGAUGE:-target/release/servegauge}
[ -n "${SERVEGAUGE:-}" ] || cargo build --release --quiet --bin servegauge
mkdir -p "$here"/{bin,etc,log,munge,pid,spool,state,work}
chmod 755 "$here"
chmod 700 "$here/munge"
ln -s "$(realpath "$program")" "$here/bin/servegauge"
export PATH="$here/bin:$PATH" XDG_CACHE_HOME="$here/cache"
# Open MPI asks whether root means it.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
unset SERVEGAUGE SERVEGAUGE_CLUSTER_FOLDER

end() {
  local signal file pid
  if [ -n "${SLURM_CONF:-}" ]; then scancel --quiet --user root 2>/dev/null || true; fi
  for signal in TERM KILL; do
    for file in "$here"/pid/*; do
      pid=$(cat "$file" 2>/dev/null) && kill "-$signal" "$pid" 2>/dev/null || true
    done
    sleep 1
  done
}
trap end EXIT

servegauge sim --port 0 --served-model-name '*' --step-time 5ms 2>"$here/log/sim" &
echo $! >"$here/pid/sim"
until url=$(grep -o 'http://[0-9.:]*' "$here/log/sim"); do sleep 0.1; done

mark=cluster-test-$$
gzip -dc datasets/tokenizer.json.gz >"$here/tokenizer.json"
run=(run --base-url "$url" --dataset-name random --random-input-len 16 --random-output-len 8 --ignore-eos --seed 7
  --tokenizer "$here/tokenizer.json" --label "$mark" --allow-invalid --disable-tqdm --no-keep --shard-timeout 120s)
short=("${run[@]}" --num-prompts 160 --request-rate 40)
failed=0

# check NAME FILE WORDS: the words are a condition in Python on the result `r`.
check() {
  local text
  if text=$(python3 - "$2" "$3" 2>&1 <<'PYTHON'
import json, sys
r = json.load(open(sys.argv[1]))
assert eval(sys.argv[2]), "not " + sys.argv[2]
print(f"{r['completed']} requests, {r['failed']} failures, interrupted: {r['servegauge'].get('interrupted', False)}")
PYTHON
  ); then
    echo "ok      $1: $text"
  else
    echo "FAILED  $1: ${text##*$'\n'}"
    failed=1
  fi
}

# No process of a run is left, except the daemons and the simulator.
check_ended() {
  local left
  for _ in $(seq 50); do
    left=$(pgrep -f -- "--label $mark" || true)
    [ -n "$left" ] || break
    sleep 0.2
  done
  if [ -z "$left" ]; then echo "ok      $1: no process is left"; else echo "FAILED  $1: left: $left"; failed=1; fi
}

start_slurm() {
  cp /etc/hosts "$here/etc/hosts"
  local node
  for node in 1 2 3 4; do echo "127.0.0.$node n$node" >>"$here/etc/hosts"; done
  mount --bind "$here/etc/hosts" /etc/hosts
  head -c 1024 /dev/urandom >"$here/munge/key"
  chmod 400 "$here/munge/key"
  munged --force --key-file="$here/munge/key" --seed-file="$here/munge/seed" --socket="$here/munge.socket" \
    --pid-file="$here/pid/munged" --log-file="$here/log/munged" 2>/dev/null
  export SLURM_CONF=$here/etc/slurm.conf
  cat >"$SLURM_CONF" <<CONF
ClusterName=servegauge
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=26817
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$here/munge.socket
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool/%n
SlurmctldPidFile=$here/pid/slurmctld
SlurmdPidFile=$here/pid/slurmd-%n
SlurmctldLogFile=$here/log/slurmctld
SlurmdLogFile=$here/log/slurmd-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
NodeName=n[1-4] NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=[26831-26834] CPUs=2 State=UNKNOWN
PartitionName=all Nodes=n[1-4] Default=YES State=UP OverSubscribe=FORCE:16
CONF
  # From 23.02 on, slurmd looks for cgroups that a container does not have.
  case "$(slurmctld -V)" in *" 2"[012].*) ;; *) echo CgroupPlugin=disabled >"$here/etc/cgroup.conf" ;; esac
  slurmctld -c
  sleep 1
  for node in 1 2 3 4; do
    mkdir -p "$here/spool/n$node"
    slurmd -c -N "n$node" || { tail -n 5 "$here/log/slurmd-n$node"; exit 1; }
  done
  for _ in $(seq 120); do
    [ "$(sinfo --noheader --Node --format %T 2>/dev/null | grep -cE 'idle|mixed')" -ge 4 ] && return
    sleep 0.5
  done
  echo "FAILED  Slurm: its nodes do not come up" >&2
  tail -n 20 "$here"/log/slurm* >&2
  exit 1
}

slurm() {
  start_slurm
  cd "$here/work"
  sinfo --noheader --format "Slurm: %D nodes (%N) %T"

  servegauge launch slurm --shards 8 --nodes 4 --name batch -- "${short[@]}" --out batch.json | sbatch --quiet --wait
  check "sbatch, 8 shards on 4 nodes" batch.json "r['completed'] == 160 and r['failed'] == 0"

  srun -N 4 -n 8 servegauge "${short[@]}" --shard auto --out step.json >step.out 2>step.err
  check "srun -N 4 -n 8" step.json "r['completed'] == 160 and r['failed'] == 0"
  grep -h "waits for the others" step.err

  local job
  job=$(servegauge launch slurm --shards 8 --nodes 4 --name ended -- "${run[@]}" --num-prompts 8000 --request-rate 80 \
    --out ended.json | sbatch --parsable)
  # The record log of shard 0 is beside the result. After its header, it grows by about 80 bytes a request.
  local log size
  until log=$(compgen -G 'ended.*.reclog' | grep -v shard); do sleep 0.2; done
  sleep 1
  size=$(wc -c <"$log")
  until [ "$(wc -c <"$log")" -gt $((size + 2000)) ]; do sleep 0.2; done
  scancel "$job"
  until [ -z "$(squeue --noheader --job "$job" 2>/dev/null)" ]; do sleep 0.2; done
  [ -e ended.json ] || cat ended-*.log
  check "scancel during the load" ended.json "10 < r['completed'] < 8000 and r['servegauge']['interrupted']"
  check_ended "scancel during the load"
  cd - >/dev/null
}

# mpi NAME FLAVOR COMMAND OF THE SCRIPT, ITS REAL NAME
mpi() {
  # mpiexec looks for its helpers beside itself, so that a link does not do.
  printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v "$4")" >"$here/bin/$3"
  chmod +x "$here/bin/$3"
  cd "$here/work"
  servegauge launch mpi --shards 4 --flavor "$2" -- "${short[@]}" --out "$2.json" | sh >"$2.out" 2>"$2.err" || cat "$2.err"
  check "$1, 4 processes" "$2.json" "r['completed'] == 160 and r['failed'] == 0"
  check_ended "$1"
  cd - >/dev/null
}

if have munged slurmctld slurmd srun sbatch scancel; then slurm; else skip "Slurm: no $missing"; fi
if have mpirun.openmpi; then mpi "Open MPI" openmpi mpirun mpirun.openmpi; else skip "Open MPI: no $missing"; fi
if have mpiexec.mpich; then mpi MPICH mpich mpiexec mpiexec.mpich; else skip "MPICH: no $missing"; fi
exit "$failed"
