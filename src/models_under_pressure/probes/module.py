"""A probe as a torch module: for training by autograd, for scoring batches, and wherever hidden states already are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models_under_pressure.probes.batches import Space
from models_under_pressure.probes.family import Family, FamilyConfig, Weights
from models_under_pressure.probes.pooling import Pooled, Segments


class ProbeModule(nn.Module):
    """Tokens of some records, flat -> the logit of each record, and what each token adds to it.

    The parameters are those of the probe's file, in float64: `projection` [hidden, columns], `bias` [columns], and what
    the family adds. In training they are of the features that `space` makes of the activations.
    """

    projection: nn.Parameter
    bias: nn.Parameter

    def __init__(self, family: Family[Any], config: FamilyConfig, weights: Weights, space: Space | None = None) -> None:
        """Hold a copy of the weights."""
        super().__init__()
        self.family, self.config = family, config
        self._more = tuple(weights.more)
        for name, array in weights.named.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(array, dtype=torch.float64)))
        self.centre: Tensor | None
        self.divisor: Tensor | None
        self.register_buffer("centre", None if space is None else torch.tensor(space.centre), persistent=False)
        self.register_buffer("divisor", None if space is None else torch.tensor(space.divisor), persistent=False)

    def forward(self, tokens: Float[Tensor, "tokens hidden"], segments: Segments) -> Pooled:
        """Project each token, and pool each record's."""
        return self.pool(project([self], tokens)[0], segments)

    def linear(self) -> tuple[Float[Tensor, "hidden columns"], Float[Tensor, "columns"]]:
        """Projection and bias for activations as they are."""
        if self.centre is None or self.divisor is None:
            return self.projection, self.bias
        projection = self.projection / self.divisor
        return projection, self.bias - self.centre @ projection

    def transform(self, projections: Float[Tensor, "tokens columns"]) -> Float[Tensor, "tokens _"]:
        """What is pooled."""
        more = {name: self.get_parameter(name) for name in self._more}
        return self.family.transform(projections, more, self.config)

    def pool(self, projections: Float[Tensor, "tokens columns"], segments: Segments) -> Pooled:
        """Pool tokens that are projected already."""
        return self.family.pool(self.transform(projections), segments, self.config)

    @torch.no_grad()
    def weights(self) -> Weights:
        """A copy of the weights for activations as they are."""
        found = {name: self.get_parameter(name).cpu().numpy().copy() for name in self._more}
        projection, bias = (part.cpu().numpy().copy() for part in self.linear())
        return Weights(projection, bias, found)


def project(modules: Sequence[ProbeModule], tokens: Float[Tensor, "tokens hidden"]) -> list[Float[Tensor, "tokens _"]]:
    """Every module's projections in float64, from one product in the precision of the tokens."""
    linears = [module.linear() for module in modules]
    together = torch.cat([projection.t() for projection, _ in linears]).to(tokens.dtype)
    # The thin factor on the left: MKL takes five to twenty times as long for `tokens @ projection` and its gradient.
    product: Any = (together @ tokens.t()).double()
    parts: tuple[Tensor, ...] = product.split([len(bias) for _, bias in linears])
    return [part.t() + bias for part, (_, bias) in zip(parts, linears, strict=True)]


def module_of(family: Family[Any], config: FamilyConfig, arrays: Mapping[str, np.ndarray]) -> ProbeModule:
    """The module of a probe's arrays, for scoring: nothing in it asks for a gradient."""
    more = {name: arrays[name] for name in family.more(config)}
    module = ProbeModule(family, config, Weights(arrays["projection"], arrays["bias"], more))
    return module.requires_grad_(requires_grad=False)
