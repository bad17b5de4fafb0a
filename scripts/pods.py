"""Four pods of a Kubernetes Job on this machine: network namespaces on a bridge, and the processes in them."""
import base64
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from shared_runs import start_simulator, until

COUNT, NAME, PORT = 4, "sg", 7707
NETWORK = "10.78.23"
BRIDGE, BRIDGE_ADDRESS = "sgtest-bridge", f"{NETWORK}.1"
RATE, SECONDS = 24, 8
REQUESTS = RATE * SECONDS


def ip(*words, may_fail=False):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode and not may_fail:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def set_link(index, state):
    """Sets the link of a pod `up` or `down`, as a cable that is pulled."""
    ip("link", "set", outside(index), state)


def outside(index):
    return f"sgtest-v{index}"


def namespace(index):
    return f"sgtest-{index}"


def relay_address(index):
    return f"{NETWORK}.{100 + index}"


def pod_address(index):
    return f"{NETWORK}.{10 + index}"


def remove_network():
    """Removes the namespaces, also those that a killed test left."""
    for index in range(COUNT):
        ip("link", "delete", outside(index), may_fail=True)
        ip("netns", "delete", namespace(index), may_fail=True)
        shutil.rmtree(f"/etc/netns/{namespace(index)}", ignore_errors=True)
    ip("link", "delete", BRIDGE, may_fail=True)
    with contextlib.suppress(OSError):
        os.rmdir("/etc/netns")


def build_network(relayed):
    """Builds the namespaces. The pods in `relayed` reach pod 0 through a relay."""
    ip("link", "add", BRIDGE, "type", "bridge")
    for address in [BRIDGE_ADDRESS, *(relay_address(index) for index in relayed)]:
        ip("address", "add", f"{address}/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    for index in range(COUNT):
        inside = namespace(index)
        ip("netns", "add", inside)
        ip("link", "add", outside(index), "type", "veth", "peer", "name", "eth0", "netns", inside)
        ip("link", "set", outside(index), "master", BRIDGE, "up")
        ip("-n", inside, "address", "add", f"{pod_address(index)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", inside, "link", "set", device, "up")
        # A pod finds itself at its own address, and the others by the Service: here, shard 0 through a relay.
        addresses = {other: pod_address(other) for other in range(COUNT)}
        if index in relayed:
            addresses[0] = relay_address(index)
        os.makedirs(f"/etc/netns/{inside}", exist_ok=True)
        with open(f"/etc/netns/{inside}/hosts", "w") as hosts:
            hosts.write("127.0.0.1 localhost\n")
            hosts.writelines(f"{address} {NAME}-{other}.{NAME}\n" for other, address in addresses.items())


def job(program, url):
    """The arguments and the environment of a pod, as the launcher writes them."""
    run = (
        f"run --base-url {url} --model m --dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos "
        f"--seed 5 --num-prompts {REQUESTS} --request-rate {RATE} --skip-tokenizer-init --disable-tqdm --no-keep "
        f"--timeout 10s --shard-timeout 60s --record-log run.reclog --save-detailed --out r.json"
    )
    flags = f"--shards {COUNT} --name {NAME} --image none"
    launch = [program, "launch", "kubernetes", *flags.split(), "--", *run.split()]
    manifests = subprocess.run(launch, capture_output=True, text=True, check=True).stdout
    args = manifests[manifests.index("- args:"):manifests.index("env:")]
    args = [json.loads(word) for word in re.findall(r'- (".*")', args)]
    token = re.search(r'SERVEGAUGE_SHARD_TOKEN: "(.*)"', manifests)[1]
    count = re.search(r'name: "SERVEGAUGE_SHARDS"\n +value: "(.*)"', manifests)[1]
    return args, {"SERVEGAUGE_SHARD_TOKEN": base64.b64decode(token).decode(), "SERVEGAUGE_SHARDS": count}


class Pod:
    """A process with a host name and a network of its own. Its monotonic clock may be shifted, and its wall clock set."""

    def __init__(self, index, command, environment, folder, clock):
        self.index, self.folder = index, f"{folder}/{index}"
        os.mkdir(self.folder)
        wrapper = ["unshare", "--uts", "--kill-child", *clock.get("unshare", [])]
        set_name = f'echo {NAME}-{index} >/proc/sys/kernel/hostname && exec "$@"'
        command = ["ip", "netns", "exec", namespace(index), *wrapper, "sh", "-c", set_name, "pod", *command]
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder, "JOB_COMPLETION_INDEX": str(index), **environment}
        if "wall" in clock:
            environment["SERVEGAUGE_TEST_WALL_CLOCK"] = clock["wall"]
        with open(f"{self.folder}/out", "w") as out, open(f"{self.folder}/err", "w") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, cwd=self.folder, env=environment, start_new_session=True
            )

    def says(self):
        with open(f"{self.folder}/err") as file:
            return file.read()

    def log(self):
        name = "run" if self.index == 0 else f"run-shard{self.index}"
        return next(iter(glob.glob(f"{self.folder}/{name}.reclog")), None)

    def measures(self):
        # After its header, a log has an entry for each request.
        return bool(log := self.log()) and os.path.getsize(log) > 4000

    def in_log(self, name):
        """The first value of a name in the JSON of the record log."""
        with open(self.log(), "rb") as file:
            _, found, rest = file.read().decode(errors="replace").partition(f'"{name}":')
        return json.JSONDecoder().raw_decode(rest)[0] if found else None


class SharedRun:
    """A run of four pods that has ended."""

    def __init__(self, program, clocks=None, during=None, deadline=90):
        self.folder = tempfile.mkdtemp(prefix="namespaces-")
        truth = f"{self.folder}/truth.jsonl"
        simulator, url = start_simulator(program, "--host", BRIDGE_ADDRESS, "--step-time", "5ms", "--truth-log", truth)
        self.pods, self.codes = [], []
        try:
            args, environment = job(program, url)
            # Pods start in any order.
            for index in (2, 0, 3, 1):
                self.pods.append(Pod(index, [program, *args], environment, self.folder, (clocks or {}).get(index, {})))
            self.pods.sort(key=lambda pod: pod.index)
            until("the load begins", self.measures, 60)
            if during:
                during(self)
            self.wait(deadline)
        finally:
            for pod in self.pods:
                if pod.process.poll() is None:
                    os.killpg(pod.process.pid, signal.SIGKILL)
            simulator.send_signal(signal.SIGINT)
            try:
                simulator.wait(5)
            except subprocess.TimeoutExpired:
                simulator.kill()
        with open(truth) as file:
            requests = [line for line in map(json.loads, file) if "id" in line]
        self.seen, self.truth = len(requests), {request["id"]: request for request in requests}
        path = f"{self.folder}/0/r.json"
        self.result = json.load(open(path)) if os.path.exists(path) else None

    def measures(self):
        """Whether all pods have begun their load."""
        if ended := [pod for pod in self.pods if pod.process.poll() is not None]:
            raise OSError(f"before the load, pod {ended[0].index} ended: {ended[0].says().strip()}")
        return all(pod.measures() for pod in self.pods)

    def wait(self, deadline):
        end = time.monotonic() + deadline
        for pod in self.pods:
            try:
                self.codes.append(pod.process.wait(max(1.0, end - time.monotonic())))
            except subprocess.TimeoutExpired:
                self.codes.append("hangs")

    def is_running(self):
        return any(pod.process.poll() is None for pod in self.pods)

    def why_invalid(self):
        """The names of the checks that make the result INVALID."""
        return {check["name"] for check in self.checks() if check["outcome"] == "invalid"}

    def figure(self, name):
        return next(check for check in self.checks() if check["name"] == name)["figure"]["time_s"]

    def checks(self):
        return self.result["servegauge"]["validity"]["checks"]

    def records(self):
        return self.result["servegauge"]["records"]

    def of_shard(self, index):
        """The requests of a shard, each with the server's own times."""
        own = [record for record in self.records() if record["ordinal"] % COUNT == index]
        return [(record, self.truth[record["id"]]) for record in own if record["success"]]
