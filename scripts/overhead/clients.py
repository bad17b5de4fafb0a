"""Clients to measure: a name and a command with blanks to fill in."""

import gzip
import shlex
from dataclasses import dataclass
from pathlib import Path

import lab

# What a command may contain in braces.
BLANKS = "url address tokenizer folder result streams requests tokens rate burstiness workers shards"

SERVEGAUGE = (
    f"{lab.SERVEGAUGE} run --base-url {{url}} --model servegauge-sim --tokenizer {{tokenizer}}"
    " --dataset-name random --random-input-len 128 --random-output-len {tokens} --num-prompts {requests}"
    " --ignore-eos --percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,99"
    " --save-result --result-dir {folder} --result-filename {result} --disable-tqdm --allow-invalid"
)
CLOSED_LOOP = " --max-concurrency {streams}"
OPEN_LOOP = " --request-rate {rate} --burstiness {burstiness} --workers {workers}"


@dataclass(frozen=True)
class Client:
    """Writes its result, with the keys of vLLM's client, into {folder}/{result} or, without that blank, to stdout."""

    name: str
    template: str

    @staticmethod
    def parse(text):
        name, equals, template = text.partition("=")
        if not equals:
            raise SystemExit(f"--client {text}: write NAME=COMMAND, with blanks in braces: {BLANKS}")
        return Client(name, template)

    def command(self, **blanks):
        try:
            words = [word.format(**blanks) for word in shlex.split(self.template)]
        except KeyError as blank:
            raise SystemExit(f"client {self.name}: there is no {blank} to fill in, only: {BLANKS}") from blank
        return [Path(words[0]).expanduser(), *words[1:]]

    def measure(self, simulator, cores, folder, **blanks):
        """Runs it once: what it reports and what it used."""
        result = "result.json"
        stdout = folder / "stdout"
        (folder / result).unlink(missing_ok=True)
        blanks.update(url=simulator.url, address=simulator.address, tokenizer=tokenizer(folder))
        patience_s = max(lab.PATIENCE_S, blanks["requests"] / 1000)
        used = lab.run(self.command(folder=folder, result=result, **blanks), cores, stdout, patience_s)
        report = lab.read_json(folder / result if "{result}" in self.template else stdout)
        if report["completed"] != blanks["requests"]:
            raise SystemExit(f"{self.name} completed {report['completed']} of {blanks['requests']} requests")
        return report, used


FLOOR = Client("floor", f"{lab.FLOOR} {{address}} {{streams}} {{requests}} {{tokens}}")
FLOOR_PACED = Client("floor", FLOOR.template + " {rate}")
OURS = Client("servegauge", SERVEGAUGE + CLOSED_LOOP)
CONTRAST = Client("no kernel stamps", OURS.template + " --no-kernel-stamps")
# Short prompts, whose texts a client holds until the run has ended.
DETAILED = Client(
    "servegauge, detailed", OURS.template.replace("-input-len 128", "-input-len 8") + " --save-detailed"
)
OURS_PACED = Client("servegauge", SERVEGAUGE + OPEN_LOOP)


def tokenizer(folder):
    """The bundled tokenizer as a folder, which every client takes."""
    path = folder / "tokenizer" / "tokenizer.json"
    if not path.exists():
        path.parent.mkdir()
        path.write_bytes(gzip.decompress(Path("datasets/tokenizer.json.gz").read_bytes()))
    return path.parent
