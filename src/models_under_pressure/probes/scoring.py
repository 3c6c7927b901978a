"""Scores of ragged activations: read once for all probes, a bounded block at a time, computed in float64.

In float64 a score is the same, to twelve digits, in any batch, cut and company, and on any CPU.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.probes.batches import tokens_of
from models_under_pressure.probes.module import ProbeModule, project
from models_under_pressure.probes.pooling import Segments
from models_under_pressure.probes.tokens import Block, record_blocks, refuse_non_finite, select

if TYPE_CHECKING:
    from models_under_pressure.probes.probe import Probe

_CACHED_TOKENS = 256
"""Tokens whose float64 values the cache still holds when they are multiplied."""


@torch.no_grad()
def pool_records(
    probes: Sequence["Probe"], activations: Activations, device: torch.device
) -> list[tuple[Float[np.ndarray, "records"], Float[np.ndarray, "tokens"]]]:
    """For each probe: the logit of each record, and what each token adds to it (0 where the probe does not see it).

    Raises:
        UserError: see `Probe`.
    """
    selections = [
        select(activations, probe.config.tokens, probe.sentence_end_ids, first_token=probe.config.first_token)
        for probe in probes
    ]
    found = [(np.empty(len(activations.ids)), np.zeros(int(activations.offsets[-1]))) for _ in probes]
    modules = [probe.module.to(device) for probe in probes]
    for (first, stop), (start, end), projections in _projected(modules, activations, device):
        for (logits, added), selection, module, own in zip(found, selections, modules, projections, strict=True):
            chosen, offsets = selection.chosen[start:end], selection.offsets[first : stop + 1]
            ends = selection.sentence_ends
            ends = None if ends is None else ends[offsets[0] : offsets[-1]]
            seen = own if chosen.all() else own[torch.as_tensor(chosen, device=device)]
            pooled = module.pool(seen, Segments.of(offsets - offsets[0], ends, device))
            logits[first:stop] = pooled.logits.cpu().numpy()
            added[start:end][chosen] = pooled.contributions.cpu().numpy()
    return found


@torch.no_grad()
def score_alone(probe: "Probe", activations: Activations, device: torch.device) -> Float[np.ndarray, "tokens"]:
    """Logit of each token as a record of its own.

    Raises:
        UserError: see `Probe`.
    """
    found: list[np.ndarray] = []
    module = probe.module.to(device)
    for _, (start, end), (projections,) in _projected([module], activations, device):
        alone = Segments.of(np.arange(end - start + 1), np.ones(end - start, dtype=bool), device)
        found.append(module.pool(projections, alone).logits.cpu().numpy())
    return np.concatenate(found)


def _projected(
    modules: Sequence[ProbeModule], activations: Activations, device: torch.device
) -> Iterator[tuple[tuple[int, int], tuple[int, int], list[Float[Tensor, "tokens _"]]]]:
    """Records, tokens, and each module's projections of them, of one block after the other."""
    offsets = np.asarray(activations.offsets)
    for first, stop in record_blocks(offsets, activations.hidden):
        start, end = int(offsets[first]), int(offsets[stop])
        values: Any = tokens_of(activations, start, end, device)
        size = _CACHED_TOKENS if device.type == "cpu" else max(1, len(values))
        pieces = [project(modules, piece.double()) for piece in values.split(size)]
        projections = [torch.cat(parts) for parts in zip(*pieces, strict=True)]
        if not all(own.isfinite().all() for own in projections):
            read = activations.read(start, end)
            refuse_non_finite(Block(first, read, offsets[first : stop + 1] - start), activations)
        yield (first, stop), (start, end), projections
