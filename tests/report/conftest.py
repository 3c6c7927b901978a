"""A report with hostile text in every place that data can reach."""

import numpy as np
import pytest

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Label, Record
from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores, mean_over_datasets
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.figures import ResultFigure, Results, declared
from models_under_pressure.figures.render import spec
from models_under_pressure.report.content import DatasetVersion, Figure, Report, TokenMap, worst_errors

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & 'quoted' `x`"
SIZES = {"anthropic_dev": 600, "mt_dev": 200, "mts_test": 86}


def _scores() -> list[ScoreList]:
    generator = np.random.default_rng(0)
    found = []
    for dataset, size in SIZES.items():
        labels = np.arange(size) % 2 == 0
        for probe, signal in (("attention", 2.0), ("mean", 1.4)):
            logits = generator.normal(size=size) + signal * labels - signal / 2
            ids = tuple(f"{number:04}" for number in range(size))
            found.append(ScoreList(dataset, probe, 42, ids, ids, labels, logits, 1 / (1 + np.exp(-1.5 * logits))))
    return found


def _records() -> dict[str, dict[str, Record]]:
    return {
        dataset: {
            f"{number:04}": Record(
                f"{number:04}",
                (
                    Message("user", f"{EVIL} مرحبا بالعالم, question {number}"),
                    Message("assistant", "An answer that is long enough to wrap. " * 8),
                ),
                Label.HIGH if number % 2 == 0 else Label.LOW,
                scale_label=9 if number % 2 == 0 else 2,
                scale_label_explanation=f"Because {EVIL}",
                scale_label_model="demo-authors",
            )
            for number in range(size)
        }
        for dataset, size in SIZES.items()
    }


def token_map(number: int = 0, **changes) -> TokenMap:
    texts = ("<|im_start|>user\n", EVIL, '" onmouseover="x', " درد", "", "🧑‍🚒", " fire")
    fields = {
        "dataset": "mt_dev" if number % 2 else "mts_test",
        "probe": "attention",
        "id": f"{EVIL} {number:04}",
        "label": "high-stakes",
        "stakes": 9,
        "logit": 0.7,
        "probability": 0.668,
        "choices": ("highest",) if number else ("highest", "most_wrong"),
        "texts": texts,
        "roles": ("template", *["user"] * 6),
        "logits": (0.1, 2.0, -1.0, 0.4, 0.0, 0.9, -3.0),
        "contributions": (0.0, 0.5, -0.1, 0.1, 0.0, 0.3, -0.1),
        "seen": ("system", "user", "assistant"),
    }
    return TokenMap(**fields | changes)


@pytest.fixture(scope="session", name="token_map")
def token_map_fixture():
    return token_map


@pytest.fixture(scope="session")
def evil() -> str:
    return EVIL


@pytest.fixture(scope="session")
def report() -> Report:
    lists = _scores()
    config = EvaluateConfig(resamples=200)
    metrics: dict = {}
    for scores in lists:
        metrics.setdefault(scores.dataset, {})[scores.probe] = evaluate_scores(
            scores.logits,
            scores.labels,
            scores.groups,
            config=config,
            seed=0,
            probabilities=scores.probabilities,
        )
    results = Results(metrics, {name: name.split("_")[1] for name in metrics}, lists, {})
    figures = declared(ResultFigure)
    shown = ("auroc", "roc", "precision_recall", "reliability", "score_histogram", "confusion")
    charts = {name: figures[name].chart(figures[name].rows(results), results) for name in shown}
    dev = [name for name in metrics if name.endswith("dev")]
    return Report(
        title="Models Under Pressure: high-stakes conversations",
        summary="Probes on SmolLM2-135M, layer 16, trained on 230 synthetic prompts; " + EVIL,
        facts={"Model": "smollm2-135m", "Layer": "16", "Hook point": "residual", "Seed": "42", EVIL: EVIL},
        metrics=metrics,
        means={
            "dev": {
                probe: mean_over_datasets([metrics[name][probe] for name in dev]) for probe in ("attention", "mean")
            }
        },
        groups={
            name: {probe: {"language": {EVIL: found, "en": found}} for probe, found in metrics[name].items()}
            for name in dev
        },
        datasets=[
            DatasetVersion(
                name, name.split("_")[1], "apr_30", f"data/evals/{name}.jsonl", size, {EVIL: size}, EVIL, "ab" * 16
            )
            for name, size in SIZES.items()
        ],
        figures=[
            Figure(name, name.replace("_", " ").capitalize(), f"What {name} shows. {EVIL}", spec(chart))
            for name, chart in charts.items()
        ],
        errors=worst_errors([scores for scores in lists if scores.probe == "attention"], _records(), most=2),
        token_maps=[token_map(number) for number in range(3)],
        provenance={"Model revision": "0123abcd", "Training data": "sha256 " + "cd" * 32, EVIL: EVIL},
        params={"probe.layer": 16, "llm.model": EVIL, "evaluate.fpr_budgets": [0.01]},
    )
