"""What the number of situations allows, seen before anything is asked."""

from collections import Counter

from models_under_pressure.core.errors import UserError
from models_under_pressure.synthesis.config import SynthesisConfig
from models_under_pressure.synthesis.sampling import in_test_split, sample_factors
from models_under_pressure.synthesis.selection import SPLITS, pairs_wanted
from models_under_pressure.synthesis.vocabulary import Vocabulary


def check_plan(config: SynthesisConfig, vocabulary: Vocabulary, *, seed: int) -> None:
    """See that each split gets situations, and can get the rows asked for.

    Raises:
        UserError: it cannot, even if the model writes every pair and none is dropped.
    """
    drawn = sample_factors(vocabulary.factors, count=config.situations, seed=seed)
    situations = Counter(
        SPLITS[in_test_split(factors.situation_id, test_fraction=config.test_fraction, seed=seed)] for factors in drawn
    )
    for split in SPLITS:
        if not situations[split]:
            raise UserError(
                f"the {split} split has no rows: no situation falls into it.",
                where="params.yaml: synthesise",
                remedy="raise `situations` or change `test_fraction`.",
            )
    if config.rows is None:
        return
    copies = 1 + bool(config.neutralise) + bool(config.manipulate)
    for split, wanted in pairs_wanted(config.rows, config.test_fraction).items():
        most = situations[split] * config.prompts_per_situation * copies
        if most < wanted:
            raise UserError(
                f"{2 * wanted:,} {split} rows asked for, but {situations[split]:,} situations give {2 * most:,}.",
                where="params.yaml: synthesise.rows",
                remedy="raise `situations` or prompts_per_situation, or lower `rows`.",
            )
