"""The table of versions, walked on the demo corpus."""

from pathlib import Path

import pytest
from askers import Asker
from stakes import LABELLER

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.files import canonical_json
from models_under_pressure.core.records import content_hash, to_row
from models_under_pressure.core.section import load_plain
from models_under_pressure.datasets.files import divide
from models_under_pressure.datasets.lineage import LINEAGE_PATH, Lineage, load_lineage
from models_under_pressure.datasets.recipe import run_recipe
from models_under_pressure.datasets.sources import PARSERS
from models_under_pressure.datasets.steps import Tools

ROOT = Path(__file__).parents[2]
SEED = 42

TABLE = {
    "anthropic_mar_20": ("source", ["relabel"]),
    "anthropic_apr_15": ("mar_20", ["add_system_prompt"]),
    "anthropic_apr_16": ("apr_15", ["add_system_prompt", "relabel"]),
    "anthropic_apr_23": ("apr_16", ["replace_system_prompt", "relabel"]),
    "mt_mar_20": ("source", ["relabel"]),
    "mt_apr_15": ("mar_20", ["drop_if_shorter_than", "format_transcription"]),
    "mt_apr_16": ("mar_20", ["format_transcription", "relabel"]),
    "mt_apr_30": ("apr_16", ["move_last"]),
    "mts_mar_20": ("source", ["relabel"]),
    "mts_apr_16": ("mar_20", ["parse_conversation", "relabel"]),
    "mts_apr_22": ("apr_16", ["parse_conversation", "relabel"]),
    "toolace_mar_20": ("source", ["relabel"]),
    "toolace_apr_15": ("mar_20", ["rewrite_system_prompt", "relabel"]),
    "toolace_apr_22": ("mar_20", ["rewrite_first_sentence", "remove_sentence", "relabel"]),
    "mental_health_mar_25": ("source", ["relabel"]),
    "mental_health_apr_22": ("mar_25", ["add_system_prompt", "relabel"]),
    "aya_mar_25": ("source", ["relabel"]),
    "aya_apr_22": ("mar_25", ["add_system_prompt", "relabel"]),
}
"""Version -> its parent and its steps, as the paper's data were made."""


def plain():
    """data/versions.yaml as plain values, to be changed."""
    return load_plain(ROOT / LINEAGE_PATH)


class Walk:
    """Every version, made from the demo corpus by an asker in this process."""

    def __init__(self, lineage=None):
        self.lineage = lineage or load_lineage(ROOT / "data/versions.yaml")
        self.tools = Tools(Asker(), LABELLER)
        self.splits, self.results = {}, {}
        for name, source in (self.lineage.sources).items():
            records = PARSERS[name](ROOT / "data/demo" / name).records
            self.splits[f"{name}_source"] = divide(
                records, test_fraction=source.test_fraction, limit=source.limit, seed=SEED
            )
        for key, version in (self.lineage.versions).items():
            parent = self.splits[f"{version.dataset}_{version.parent}"]
            self.results[key] = run_recipe(version, parent, tools=self.tools, seed=SEED)
            self.splits[key] = self.results[key].raw

    def rows(self, key):
        return {record.id: record for _, records in self.splits[key].items() for record in records}


@pytest.fixture(scope="module")
def walk():
    return Walk()


def roles(record):
    return [message.role for message in record.messages]


def test_the_lineage_is_the_table(walk):
    versions = walk.lineage.versions
    found = {key: (version.parent, [step.op for step in version.steps]) for key, version in versions.items()}
    assert found == TABLE


def test_every_version_makes_raw_and_balanced_files_of_every_split(walk):
    for key, result in walk.results.items():
        for (name, raw), (_, balanced) in zip(result.raw.items(), result.balanced.items(), strict=True):
            assert bool(raw) == bool(balanced) == (name in walk.lineage.splits_of(walk.lineage.versions[key]))
            labels = [record.label for record in balanced]
            assert all(2 * labels.count(label) == len(labels) for label in set(labels))
            assert {record.id for record in balanced} <= {record.id for record in raw}
            assert [record.id for record in raw] == sorted(record.id for record in raw)


def test_every_split_of_the_demo_holds_at_least_60_raw_rows(walk):
    for name in walk.lineage.sources:
        for _, records in walk.splits[f"{name}_source"].items():
            assert not records or len(records) >= 60
    assert all(len(records) >= 60 for _, records in walk.splits["mt_apr_30"].items())


def test_every_row_is_accounted_for(walk):
    for result in walk.results.values():
        for step in result.manifest["steps"]:
            assert sum(step["rows_in"].values()) == sum(step["rows_out"].values()) + len(step["dropped"])
            assert all(row["reason"] for row in step["dropped"])


def test_a_replay_gives_the_same_bytes(walk):
    again = Walk()
    for key, result in walk.results.items():
        other = again.results[key]
        assert canonical_json(dict(result.manifest)) == canonical_json(dict(other.manifest))
        for part in ("raw", "balanced"):
            for (_, one), (_, two) in zip(getattr(result, part).items(), getattr(other, part).items(), strict=True):
                assert [to_row(record) for record in one] == [to_row(record) for record in two]


def test_a_manifest_names_the_content_of_its_parent(walk):
    for key, version in (walk.lineage.versions).items():
        parent = walk.splits[f"{version.dataset}_{version.parent}"]
        expected = {name: content_hash(records) for name, records in parent.items()}
        assert walk.results[key].manifest["parent_content"] == expected


def test_anthropic_gets_one_system_prompt_then_two_then_one_again(walk):
    base, one, two, last = (walk.rows(f"anthropic_{name}") for name in ("mar_20", "apr_15", "apr_16", "apr_23"))
    assert base.keys() == one.keys() == two.keys() == last.keys()
    for id_, before in base.items():
        added = (one[id_].messages[0],)
        assert added[0].role == "system"
        assert one[id_].messages == added + before.messages
        assert two[id_].messages == added + added + before.messages
        assert last[id_].messages == added + tuple(m for m in before.messages if m.role != "system")


def test_anthropic_apr_15_carries_the_labels_and_the_balanced_rows_over(walk):
    base, changed = walk.results["anthropic_mar_20"], walk.results["anthropic_apr_15"]
    for (_, before), (_, after) in zip(base.balanced.items(), changed.balanced.items(), strict=True):
        assert [(record.id, record.label) for record in before] == [(record.id, record.label) for record in after]
    assert all("previous_labels" not in record.fields for record in walk.rows("anthropic_apr_15").values())
    assert all("previous_labels" in record.fields for record in walk.rows("anthropic_apr_16").values())


def test_mt_apr_15_drops_short_notes_with_their_ids_and_keeps_the_labels(walk):
    base, formatted = walk.rows("mt_mar_20"), walk.rows("mt_apr_15")
    dropped = {row["id"] for row in walk.results["mt_apr_15"].manifest["steps"][0]["dropped"]}
    assert dropped
    assert formatted.keys() == base.keys() - dropped
    for id_, record in formatted.items():
        assert str(base[id_].input) in record.messages[1].content
        assert record.label is base[id_].label
        assert roles(record) == ["system", "user"]


def test_mt_apr_16_starts_again_from_the_base_and_drops_nothing(walk):
    rows = walk.rows("mt_apr_16")
    assert rows.keys() == walk.rows("mt_mar_20").keys()
    for record in rows.values():
        head, rest = record.messages[1].content.split("\n\n", 1)
        assert head.startswith("Medical Specialty: ")
        assert rest.endswith(f"\n---\nDESCRIPTION: {record.fields['description'].strip()}")
    for record in walk.rows("mt_apr_15").values():
        assert record.messages[1].content.endswith(f"DESCRIPTION: {record.fields['description']}")


def test_mt_apr_30_moves_rows_to_dev_and_asks_nothing(walk):
    before, after = walk.splits["mt_apr_16"], walk.splits["mt_apr_30"]
    moved = {record.id for record in before.test} - {record.id for record in after.test}
    assert {record.id for record in after.dev} == {record.id for record in before.dev} | moved
    assert len(moved) >= 12
    assert set(walk.results["mt_apr_30"].manifest["steps"][0]["moved"]) == moved
    assert walk.rows("mt_apr_30") == walk.rows("mt_apr_16")
    assert not {record.group for record in after.dev} & {record.group for record in after.test}


def test_mts_is_a_string_until_it_is_parsed_strictly(walk):
    assert all(isinstance(record.input, str) for record in walk.rows("mts_mar_20").values())
    parsed = walk.rows("mts_apr_16")
    assert all(set(roles(record)) <= {"system", "user", "assistant"} for record in parsed.values())
    dropped = walk.results["mts_apr_16"].manifest["steps"][0]["dropped"]
    assert dropped
    assert all(row["reason"].startswith("speakers other than the known ones: ") for row in dropped)
    for record in parsed.values():
        assert record.messages[0].content.endswith(record.fields["section_text"])


def test_mts_apr_22_has_the_same_rows_and_turns_under_a_corrected_prompt(walk):
    first, second = walk.rows("mts_apr_16"), walk.rows("mts_apr_22")
    assert first.keys() == second.keys()
    for id_, record in second.items():
        assert record.messages[1:] == first[id_].messages[1:]
        assert record.messages[0] != first[id_].messages[0]


def test_toolace_apr_15_and_apr_22_both_start_from_the_base_prompt(walk):
    base = walk.rows("toolace_mar_20")
    for version in ("apr_15", "apr_22"):
        rows = walk.rows(f"toolace_{version}")
        assert rows.keys() == base.keys()
        for id_, record in rows.items():
            assert record.messages[1:] == base[id_].messages[1:]
            original = record.fields.get("original_system_prompts", base[id_].messages[0].content)
            assert original == base[id_].messages[0].content


def test_toolace_apr_22_changes_two_sentences_and_names_the_prompts_it_leaves(walk):
    base, rows = walk.rows("toolace_mar_20"), walk.rows("toolace_apr_22")
    first, second, _ = walk.results["toolace_apr_22"].manifest["steps"]
    assert first["left_as_they_were"]
    for id_, record in rows.items():
        text = record.messages[0].content
        if id_ in first["left_as_they_were"]:
            assert "original_system_prompts" not in record.fields
        else:
            assert text.startswith("You work for a bank.")
            assert "You are an expert in" not in text
        if id_ not in second["left_as_they_were"]:
            assert "Should you decide" in base[id_].messages[0].content
        assert "Should you decide" not in text


@pytest.mark.parametrize("name", ["mental_health", "aya"])
def test_the_test_only_sets_become_a_system_and_a_user_turn(walk, name):
    base = walk.rows(f"{name}_mar_25")
    for id_, record in walk.rows(f"{name}_apr_22").items():
        system, user = record.messages
        assert system.role == "system"
        assert user == Message("user", str(base[id_].input))


def test_editing_a_recipe_changes_its_descendants_only(walk):
    content = plain()
    content["versions"]["anthropic_apr_16"]["steps"][0]["text"] = "Another prompt."
    edited = Walk(Lineage.model_validate(content))
    changed = {key for key in walk.results if walk.results[key].raw != edited.results[key].raw}
    assert changed == {"anthropic_apr_16", "anthropic_apr_23"}


def test_a_version_is_added_by_an_entry_and_balances_three_classes_when_asked(walk):
    content = plain()
    classes = ["high-stakes", "low-stakes", "ambiguous"]
    content["versions"]["anthropic_may_7"] = {
        "parent": "anthropic_apr_23",
        "steps": [],
        "balance": {"classes": classes, "per_class": 2},
    }
    balanced = Walk(Lineage.model_validate(content)).results["anthropic_may_7"].balanced
    for _, records in balanced.items():
        assert sorted(str(record.label_word) for record in records) == sorted(classes * 2)
