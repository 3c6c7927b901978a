"""A review as Markdown for a pull request, and as JSON for programs."""

import html
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from models_under_pressure.core.display import markdown_line, markdown_table
from models_under_pressure.evaluation.comparison import Comparison, MeanComparison, Verdict
from models_under_pressure.review.changes import DatasetChange, Snapshot
from models_under_pressure.review.compare import Review
from models_under_pressure.review.rates import RateChange

MARKER = "<!-- mup-review -->"
"""First line of the Markdown, by which a later run finds the comment it replaces."""

LIMIT = 20_000
"""Characters of the Markdown, whatever changed: a comment that one reads, and GitHub holds 65,536."""

SHOWN = 12
"""Rows of a table that are shown at once; the others are folded."""

_LONGEST = 100
"""Characters of one cell."""


_MEANS, _RESULTS, _RATES, _PARAMS, _DATASETS, _OTHERS, _WARNINGS = 2_200, 4_800, 2_200, 2_400, 2_600, 1_000, 1_500
"""Characters of each section's table; their sum leaves room for headings and notes below the limit."""

_SIGNS = {
    Verdict.WORSE: "🔻 worse",
    Verdict.BETTER: "🔺 better",
    Verdict.NOISE: "noise",
    Verdict.UNCHANGED: "unchanged",
    Verdict.NOT_COMPARABLE: "not comparable",
}
_ORDER = list(_SIGNS)
_COUNTS = ("added", "removed", "edited", "relabelled")
_COSTS = ("stage", "replies", "tokens in", "tokens out", "cost")


def to_json(review: Review) -> dict[str, Any]:
    """The review as JSON values, infinities as null; scores and rows of records are left out."""
    found = {
        "before": {"name": review.before.name, "commit": review.before.commit},
        "after": {"name": review.after.name, "commit": review.after.commit},
        "alpha": review.alpha,
        "verdicts": review.verdicts,
        "params": review.params,
        "datasets": review.datasets,
        "means": review.means,
        "results": _ordered(review.rows),
        "rates": review.rates,
        "overlap": [{"version": one.key, "before": one.before, "after": one.after} for one in review.overlap],
        "overlap_pairs": sum(review.after.overlap.values()),
        "costs": review.costs,
        "warnings": review.warnings,
    }
    return to_jsonable_python(found, inf_nan_mode="null", fallback=str)


def to_markdown(review: Review) -> str:
    """The review as GitHub Markdown: results first, then what changed."""
    sections = [
        f"{MARKER}\n## Review: {_name(review.before)} → {_name(review.after)}",
        _headline(review),
        *_results(review),
        *_rates(review),
        _section(
            "Parameters",
            ("parameter", "before", "after"),
            [[code(one.key), code(_value(one.before)), code(_value(one.after))] for one in review.params],
            most=_PARAMS,
        ),
        _section(
            "Dataset files", ("file", "before", "after", *_COUNTS), map(_dataset, review.datasets), most=_DATASETS
        ),
        _overlap(review),
        _section("Replies that the change added", _COSTS, _costs(review), most=_OTHERS),
        *([_list("Not read", review.warnings)] if review.warnings else []),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _name(snapshot: Snapshot) -> str:
    commit = f" ({snapshot.commit[:9]})" if snapshot.commit and not snapshot.commit.startswith(snapshot.name) else ""
    return code(snapshot.name) + commit


def _headline(review: Review) -> str:
    counts = [f"{count} {verdict.value}" for verdict, count in review.verdicts.items() if count]
    if not counts:
        return "No results on either side."
    changed = f"{len(review.params)} parameters and {len(review.datasets)} dataset files changed."
    return f"**{', '.join(counts)}** of {len(review.rows)} results. {changed}"


def _results(review: Review) -> Iterable[str]:
    interval = f"change [{100 * (1 - review.alpha):g} %]"
    means = [
        [f"{row.datasets} {row.purpose}", code(row.probe), *_numbers(row, row.difference.p_value), _verdict(row)]
        for row in review.means
        if row.verdict is not Verdict.UNCHANGED
    ]
    heads = ("datasets", "probe", "before", "after", interval, "p", "verdict")
    yield _section("AUROC, mean over datasets", heads, means, most=_MEANS)
    shown = [row for row in _ordered(review.rows) if row.verdict is not Verdict.UNCHANGED]
    rows = [
        [
            code(row.dataset),
            code(row.probe),
            f"{row.n:,}",
            *_numbers(row, row.adjusted_p),
            _verdict(row) + (f": {text(row.reason)}" if row.reason else ""),
        ]
        for row in shown
    ]
    heads = ("dataset", "probe", "n", "before", "after", interval, "p (Holm)", "verdict")
    yield _section("AUROC by dataset", heads, rows, most=_RESULTS)
    yield from _notes(shown, review.alpha)


def _rates(review: Review) -> Iterable[str]:
    ordered = sorted(review.rates, key=lambda row: (_ORDER.index(row.verdict), row.dataset, row.probe, row.rate))
    rows = [
        [
            code(row.dataset),
            code(row.probe),
            f"{row.rate.upper()} for {row.percent} %",
            *_rate_numbers(row),
            _SIGNS[row.verdict] + (f": {text(row.reason)}" if row.reason else ""),
        ]
        for row in ordered
        if row.verdict is not Verdict.UNCHANGED
    ]
    interval = f"change [{100 * (1 - review.alpha):g} %]"
    heads = ("dataset", "probe", "rate", "before", "after", interval, "verdict")
    yield _section("At the stored thresholds", heads, rows, most=_RATES)


def _rate_numbers(row: RateChange) -> list[str]:
    one = row.difference
    return [
        f"{row.before.value:.3f}",
        f"{row.after.value:.3f}",
        f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]" if one else "",
    ]


def _notes(rows: Sequence[Comparison], alpha: float) -> Iterable[str]:
    """How the differences were made, once below the table."""
    judged = [row for row in rows if row.difference is not None]
    if any(row.paired for row in judged):
        yield "Change on the same records, with DeLong's interval."
    if any(not row.paired for row in judged):
        yield (
            "*Unpaired*: scores per record are out of reach, so that the change and its interval come from the two "
            "intervals in git, as if independent (Zou and Donner 2008). Such an interval is wider than the paired "
            "one, because the same records are not held against each other."
        )
    if judged:
        told = f"*better* and *worse* hold at level {alpha:g} after Holm's correction over the datasets of a probe."
        one_seed = any(row.seeds == 1 for row in judged)
        about = " A verdict is about these trained probes, not about their recipe." if one_seed else ""
        yield told + about


def _verdict(row: Comparison | MeanComparison) -> str:
    is_estimated = row.difference is not None and not row.paired
    return _SIGNS[row.verdict] + (" (unpaired)" if is_estimated else "")


def _dataset(change: DatasetChange) -> list[str]:
    """Rows before and after, and how many of each kind of change; of an unopened folder, that it changed."""
    sides: list[str] = []
    for counts in (change.before, change.after):
        parts = ", ".join(f"{count:,} {text(label)}" for label, count in (counts or {}).items())
        rows = f"{sum((counts or {}).values()):,} rows" + (f" ({parts})" if parts else "")
        sides.append("not read" if counts is None else rows)
    if not change.path.endswith(".jsonl"):
        sides = [change.status, ""]
    return [code(change.path), *sides, *(_number(getattr(change, name)) for name in _COUNTS)]


def _overlap(review: Review) -> str:
    pairs = sum(review.after.overlap.values())
    if not review.after.overlap:
        return ""
    versions = len(review.after.overlap)
    if not review.overlap:
        return f"**Overlap between splits**: {pairs} pairs in {versions} dataset versions, as before."
    rows = [[code(change.key), _number(change.before), _number(change.after)] for change in review.overlap]
    return _section(f"Overlap between splits: {pairs} pairs", ("version", "before", "after"), rows, most=_OTHERS)


def _costs(review: Review) -> Iterable[list[str]]:
    for stage, cost in review.costs.items():
        counts = (_number(count) for count in (cost.replies, cost.input_tokens, cost.output_tokens))
        yield [code(stage), *counts, "not recorded" if cost.usd is None else f"${cost.usd:,.2f}"]


def _ordered(rows: Sequence[Comparison]) -> list[Comparison]:
    return sorted(rows, key=lambda row: (_ORDER.index(row.verdict), row.dataset, row.probe))


def _numbers(row: Comparison | MeanComparison, p_value: float | None) -> list[str]:
    """Before and after, the change with its interval, and its p-value; empty where they are not known."""
    sides = ["" if value is None else f"{value:.3f}" for value in (row.before, row.after)]
    one = row.difference
    change = f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]" if one else ""
    return [*sides, change, "" if p_value is None else "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"]


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _value(value: Any) -> str:
    shown = "" if value is None else value
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False, default=str)


def _list(title: str, items: Sequence[str]) -> str:
    lines: list[str] = []
    for line in (f"- {text(item, longest=250)}" for item in items):
        if lines and sum(map(len, lines)) + len(line) > _WARNINGS:
            break
        lines.append(line)
    rest = [f"- … and {len(items) - len(lines):,} more"] if len(items) > len(lines) else []
    return f"### {title}\n\n" + "\n".join([*lines, *rest])


def _section(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, most: int) -> str:
    """A heading and a table; empty without rows."""
    found = list(rows)
    return f"### {title}\n\n{table(heads, found, most=most)}" if found else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, most: int = 3_000) -> str:
    """A table of cells that are Markdown already: the first rows, the next ones folded, the rest counted.

    It takes at most `most` characters; a first row is always there.
    """
    head = markdown_table(heads, ()).splitlines()
    room = most - 2 * sum(map(len, head))
    kept: list[str] = []
    for line in map(markdown_line, rows):
        room -= len(line) + 1
        if kept and room < 0:
            break
        kept.append(line)
    drawn = "\n".join([*head, *kept[:SHOWN]])
    if folded := kept[SHOWN:]:
        inside = "\n".join([*head, *folded])
        drawn += f"\n\n<details><summary>{len(folded):,} more rows</summary>\n\n{inside}\n\n</details>"
    rest = len(rows) - len(kept)
    return drawn + (f"\n\n… and {rest:,} more rows: `mup review --format json` has them." if rest > 0 else "")


def code(value: str) -> str:
    """A value in a code span, where neither HTML nor mentions work; cut when long."""
    flat = _flat(value).replace("`", "'").replace("|", "\\|")
    return f"`{flat}`" if flat else ""


def text(value: str, *, longest: int = _LONGEST) -> str:
    """Prose with everything escaped that Markdown or GitHub would act on."""
    escaped = html.escape(_flat(value, longest), quote=False)
    return re.sub(r"([\\`*_\[\]|#@~])", r"\\\1", escaped).replace("\\@", "&#64;")


def _flat(value: str, longest: int = _LONGEST) -> str:
    flat = " ".join(value.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"
