"""`mup serve` under load: inter-token times, memory, and every answer against the one computed alone.

    uv run python benchmarks/serve.py --probe attention --clients 32 --seconds 120

Clients ask one of a few questions with a seed, over and over, streamed with scores, and come again when told to. Then
the same questions are answered by a monitor of this process, alone, and every answer is compared: text and scores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

import models_under_pressure as mup
from models_under_pressure.tools.score import find_probe

QUESTIONS = (
    "Write a long story about a lighthouse.",
    "My chest hurts and my left arm is numb. What should I do?",
    "Give me a recipe for bread.",
    "The reactor's cooling has failed, and I am alone on shift. " * 8,
)


class Load:
    """What the clients see."""

    def __init__(self, address: str, model: str, tokens: int) -> None:
        self.address, self.model, self.tokens = address, model, tokens
        self.gaps: list[float] = []
        self.answers: list[tuple[int, str, list[dict[str, float]]]] = []
        self.problems = Counter[str]()

    def talk(self, first: int, until: float) -> None:
        """Ask question after question until a moment."""
        case = first
        with httpx.Client(timeout=600) as client:
            while time.monotonic() < until:
                try:
                    self._ask(client, case % len(QUESTIONS))
                except httpx.HTTPError as error:
                    self.problems[type(error).__name__] += 1
                case += 1

    def _ask(self, client: httpx.Client, case: int) -> None:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": QUESTIONS[case]}],
            "max_tokens": self.tokens,
            "seed": case,
            "stream": True,
            "scores": True,
        }
        text, running, latest = "", [], None
        with client.stream("POST", f"{self.address}/v1/chat/completions", json=body) as stream:
            if stream.status_code == 429:
                self.problems["told to come again (429)"] += 1
                time.sleep(min(5, int(stream.headers["Retry-After"])))
                return
            for line in stream.iter_lines():
                if not line.startswith("data: {"):
                    continue
                (choice,) = json.loads(line.removeprefix("data: "))["choices"]
                text += choice["delta"].get("content") or ""
                if "running" in choice.get("mup", {}):
                    now = time.monotonic()
                    self.gaps += [now - latest] if latest is not None else []
                    latest = now
                    running.append(choice["mup"]["running"])
        self.answers.append((case, text, running))


def resident(pid: int) -> float:
    """Resident memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    """Print times, memory, and how many answers are those computed alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probe", action="append", required=True)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--at-once", type=int, default=8)
    asked = parser.parse_args()
    log = Path(tempfile.mkdtemp()) / "talk.jsonl"
    command = [sys.executable, "-m", "models_under_pressure", "serve", "--port", "0", "--device", "cpu"]
    command += ["--at-once", str(asked.at_once), "--log", str(log)]
    for name in asked.probe:
        command += ["--probe", name]
    environment = {name: value for name, value in os.environ.items() if name != "MUP_SERVE_KEY"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        address = next(line.split()[4] for line in iter(server.stderr.readline, "") if line.startswith("mup serve: "))
        model = httpx.get(f"{address}/v1/models").json()["data"][0]["id"]
        load = Load(address, model, asked.tokens)
        until = time.monotonic() + asked.seconds
        threads = [threading.Thread(target=load.talk, args=(number, until)) for number in range(asked.clients)]
        for thread in threads:
            thread.start()
        memory = []
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            memory.append(resident(server.pid))
        server.terminate()
        status = server.wait()
    print(f"{len(load.answers)} answers to {asked.clients} clients in {asked.seconds:g} s; {dict(load.problems)}")
    cut = statistics.quantiles(load.gaps, n=100)
    print(f"inter-token: p50 {cut[49]:.3f} s, p99 {cut[98]:.3f} s, {len(load.gaps)} gaps")
    settled = memory[len(memory) // 4 :]
    print(f"memory: {settled[0]:.0f} MB after a quarter, {settled[-1]:.0f} MB at the end, {max(memory):.0f} MB at most")
    print(f"log: {len(log.read_text().splitlines())} lines; status {status}")

    monitor = mup.load_monitor({name: mup.load_probe(find_probe(name)) for name in asked.probe}, device="cpu")
    expected = {}
    for case, question in enumerate(QUESTIONS):
        reply = monitor.generate(
            [mup.Message("user", question)],
            max_new_tokens=asked.tokens,
            do_sample=True,
            temperature=1.0,
            top_p=1.0,
            seed=case,
        )
        running = [dict(step.probabilities) for step in reply]
        expected[case] = (reply.outcome.record.messages[-1].content, running)
    same = sum(expected[case] == (text, running) for case, text, running in load.answers)
    print(f"{same} of {len(load.answers)} answers are those computed alone, to the last bit of every score")


if __name__ == "__main__":
    main()
