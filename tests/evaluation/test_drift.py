"""New traffic is compared with the control set: alarms where it differs, and rarely where it does not."""

import numpy as np
import pytest

from models_under_pressure.evaluation import drift
from models_under_pressure.evaluation.drift import Promise, Traffic, compare_traffic, energy_test


def traffic(size, shift=0.0, seed=0, hidden=4):
    generator = np.random.default_rng(seed)
    means = generator.normal(size=(size, hidden))
    means[:, 0] += shift
    return Traffic(means[:, 0] + generator.normal(size=size), means)


def compared(new, control, alpha=0.01, threshold=3.5, most=0.01):
    training = traffic(50, shift=3.0, seed=99)
    promises = [Promise(0.01, threshold, most)]
    return compare_traffic(new, control, training, promises, alpha=alpha, confidence=0.95, seed=1)


def test_traffic_like_the_control_set_rings_no_alarm():
    found = compared(traffic(150, seed=1), traffic(200, seed=2))
    assert not found.alarm
    assert found.sizes == {"new": 150, "control": 200, "training": 50}
    assert found.distances["new to training"] > 0.1


def test_shifted_traffic_rings_all_three():
    found = compared(traffic(150, shift=2.5, seed=1), traffic(200, seed=2))
    assert [check.name for check in found.checks if check.alarm] == ["flags at 1 %", "scores", "activations"]


def test_only_more_flags_than_promised_ring():
    new, control = traffic(300, seed=1), traffic(300, seed=2)
    often, seldom = compared(new, control, threshold=1.0), compared(new, control, threshold=None)
    assert [check.name for check in often.checks if check.alarm] == ["flags at 1 %"]
    assert not seldom.alarm
    flags = often.checks[0]
    assert flags.low < flags.value == (new.logits >= 1.0).mean() < flags.high


def test_the_chance_of_a_false_alarm_is_at_most_alpha(monkeypatch):
    monkeypatch.setattr(drift, "PERMUTATIONS", 99)
    rung = sum(
        compared(traffic(40, seed=3000 + n), traffic(60, seed=n), alpha=0.2, threshold=3.29).alarm for n in range(80)
    )
    assert rung <= 26, "16 are expected at most"


def test_the_energy_coefficient_is_its_definition():
    one, two = traffic(9, shift=1.0, seed=1, hidden=3).means, traffic(6, seed=2, hidden=3).means
    scale = np.vstack([one, two]).std(axis=0)

    def mean(a, b):
        return np.mean([np.linalg.norm((x - y) / scale) for x in a for y in b])

    expected = (2 * mean(one, two) - mean(one, one) - mean(two, two)) / (2 * mean(one, two))
    found, p_value = energy_test(one, two, np.random.default_rng(0))
    assert found == pytest.approx(expected)
    assert 0 < p_value <= 1


def test_of_very_many_conversations_some_are_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr(drift, "MOST", 30)
    new, control = traffic(80, seed=1), traffic(90, seed=2)
    first, again = (compared(new, control).checks[-1] for _ in range(2))
    assert first == again
