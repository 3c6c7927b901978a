"""No family finds what is not there."""

from dataclasses import replace

import numpy as np

from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probes


def test_every_family_scores_unseen_records_by_chance_when_labels_are_permuted(planted):
    generator = np.random.default_rng(0)
    train, validation, unseen = (planted(records=records, seed=seed) for seed, records in enumerate((120, 120, 400)))
    train, validation = (replace(one, labels=generator.permutation(one.labels)) for one in (train, validation))
    labels = generator.permutation(unseen.labels)
    families = {name: family for name, family in FAMILIES.items() if not family.by_sentence}
    configs = {
        name: family.config(**({"epochs": 5} if "epochs" in family.config.model_fields else {}))
        for name, family in families.items()
    }
    for name, (probe,) in fit_probes(configs, train, validation, seed=0).items():
        found = auroc(probe.decision_function(unseen.activations), labels)
        assert abs(found - 0.5) < 0.1, f"{name}: {found:.3f}"  # three standard errors
