"""This checkout's trainer against that of another checkout: CPU seconds, and the AUROC of what they train.

Each of the two is a process with one thread, and they fit the same seeds of the same data in turns. CPU seconds, as
other work on the machine does not count in them; the best of the rounds is taken. The difference in mean AUROC over the
dev sets has a paired bootstrap interval over records and seeds.

    python benchmarks/probes.py prepare --files FOLDER --stores FOLDER --dev-rows 150
    python benchmarks/trainers.py --files FOLDER --stores FOLDER --other OTHER_CHECKOUT/src
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from probe_data import load

from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probes

Data = dict[str, Any]


def worker(data: Data) -> None:
    """Fit what each line of the standard input asks for, and answer with CPU seconds and logits."""
    for line in sys.stdin:
        family, seed, seeds = json.loads(line)
        begin = time.process_time()
        config = FAMILIES[family].config(seeds=seeds)
        found = fit_probes({"": config}, data["train"], data["validation"], seed=seed)[""]
        seconds = time.process_time() - begin
        logits = {name: found[0].decision_function(one.activations).tolist() for name, one in dev(data).items()}
        print(json.dumps({"seconds": seconds, "logits": logits, **found[0].metrics}), flush=True)


def dev(data: Data) -> Data:
    """The sets that probes are judged on."""
    return {name: one for name, one in data.items() if name not in ("train", "validation")}


def start(source: str) -> subprocess.Popen[str]:
    """A process with the trainer of a checkout, and one thread."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    command = [sys.executable, *sys.argv, "--work"]
    environment = {**os.environ, **threads, "PYTHONPATH": source}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(process: subprocess.Popen[str], *question: object) -> dict[str, Any]:
    """One fit."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def compare(family: str, seeds: int, rounds: int, data: Data, processes: dict[str, Any]) -> dict[str, Any]:
    """Fit each seed alone with both trainers, and all seeds together."""
    from probes import difference

    best: dict[str, dict[str, float]] = {"one": {}, "all": {}}
    logits: dict[str, list[Any]] = {way: [] for way in processes}
    validation: dict[str, list[float]] = {way: [] for way in processes}
    for number in range(max(rounds, seeds)):
        for way, process in processes.items():
            for kind, question in (("one", (family, number % seeds, 1)), ("all", (family, 0, seeds))):
                if kind == "all" and number >= rounds:
                    continue
                found = ask(process, *question)
                key = f"{way} {number % seeds}" if kind == "one" else way
                best[kind][key] = min(found["seconds"], best[kind].get(key, float("inf")))
                if kind == "one" and number < seeds:
                    logits[way].append({name: np.array(row) for name, row in found["logits"].items()})
                    validation[way].append(round(found["validation_auroc"], 4))
    ratios = [best["one"][f"ours {seed}"] / best["one"][f"other {seed}"] for seed in range(seeds)]
    return {
        "seconds": {key: round(value, 2) for kind in best.values() for key, value in kind.items()},
        "ratio": round(float(np.median(ratios)), 2),
        "ratio_all_seeds": round(best["all"]["ours"] / best["all"]["other"], 2),
        "validation": validation,
        **difference(data, {"ours": logits["ours"], "original": logits["other"]}),
    }


def main() -> None:
    """Start both trainers, and compare them; or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path)
    parser.add_argument("--stores", type=Path, required=True)
    parser.add_argument("--other", help="folder of the other package: src of a checkout")
    parser.add_argument("--families", nargs="+", default=["attention", "softmax"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cut", type=int, help="train and validate on the first tokens of each row only")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    data = load(options.files, options.stores, cut=options.cut)
    if options.work:
        worker(data)
        return
    processes = {"ours": start(os.environ.get("PYTHONPATH", "")), "other": start(options.other)}
    for process in processes.values():
        ask(process, options.families[0], 99, 1)  # imports are no training
    for family in options.families:
        print(family, json.dumps(compare(family, options.seeds, options.rounds, data, processes)), flush=True)
    for process in processes.values():
        assert process.stdin
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
