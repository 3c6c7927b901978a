"""What the server counts, in Prometheus' text format (version 0.0.4)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

from models_under_pressure.monitor.running import Outcome

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets, in seconds."""


class _Histogram:
    def __init__(self) -> None:
        self.buckets, self.sum = [0] * (len(_BOUNDS) + 1), 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(_BOUNDS, seconds)] += 1
        self.sum += seconds

    def lines(self, name: str) -> Iterable[str]:
        total = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self.buckets, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self.sum}"
        yield f"{name}_count {total}"


class Metrics:
    """Counts since the start: requests in the server's thread, all others in the engine's."""

    def __init__(self, probes: Iterable[str]) -> None:
        """Begin at zero, for probes too that never flag."""
        self._requests = Counter[tuple[str, int]]()
        self._tokens = Counter({"prompt": 0, "reply": 0})
        self._actions = Counter[str]()
        self._flags = Counter(dict.fromkeys(probes, 0))
        self._first, self._next = _Histogram(), _Histogram()

    def request(self, path: str, status: int) -> None:
        """Count an answer to a request."""
        self._requests[path, status] += 1

    def token(self, seconds: float, *, is_first: bool) -> None:
        """Count a token, which came so long after the one before or after the reply was begun."""
        self._tokens["reply"] += 1
        (self._first if is_first else self._next).add(seconds)

    def conversation(self, outcome: Outcome, prompt_tokens: int) -> None:
        """Count a reply that is over."""
        self._tokens["prompt"] += prompt_tokens
        self._actions[outcome.action] += 1
        self._flags.update(outcome.flagged)

    def text(self, *, running: int, waiting: int) -> str:
        """All of it, with the requests that there are now."""
        lines: list[str] = []

        def told(name: str, kind: str, what: str, values: Iterable[str]) -> None:
            lines.extend((f"# HELP {name} {what}", f"# TYPE {name} {kind}", *values))

        requests = (
            f"mup_requests_total{_labels({'path': path, 'status': str(status)})} {count}"
            for (path, status), count in sorted(self._requests.items())
        )
        told("mup_requests_total", "counter", "Answers to requests.", requests)
        for name, what, label, counts in (
            ("mup_tokens_total", "Tokens of prompts and replies.", "part", self._tokens),
            ("mup_conversations_total", "Replies by why they ended.", "action", self._actions),
            ("mup_flagged_total", "Replies that a probe flagged.", "probe", self._flags),
        ):
            values = (f"{name}{_labels({label: key})} {count}" for key, count in sorted(counts.items()))
            told(name, "counter", what, values)
        for name, what, histogram in (
            ("mup_first_token_seconds", "From the begin of the work to the first token.", self._first),
            ("mup_inter_token_seconds", "From one token of a reply to the next.", self._next),
        ):
            told(name, "histogram", what, histogram.lines(name))
        told("mup_running", "gauge", "Requests that are worked on.", [f"mup_running {running}"])
        told("mup_waiting", "gauge", "Requests that wait for their turn.", [f"mup_waiting {waiting}"])
        return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}"
