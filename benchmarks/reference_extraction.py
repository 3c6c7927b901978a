"""The extraction method of the paper's released code, in own words, as a yardstick for `benchmarks/extraction.py`.

Batches of 4 conversations of similar length, padded; the blocks up to and including the layer in full, then the final
norm and the language model's head, whose logits are thrown away; activations into one dense float16 buffer [records,
longest record, hidden], saved whole and compressed with zstd at level 4 in pieces of 16 MiB. float32 on a CPU,
bfloat16 on a GPU. What is measured is this method, not its defects: lengths come from the mask, not from the pad id.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

_BATCH = 4
_PIECE = 1 << 24


def reference_extract(texts: Sequence[str], model: Any, tokenizer: Any, layer: int, path: Path) -> int:
    """Extract and save; returns the number of tokens, without padding."""
    encoded = [tokenizer(text, add_special_tokens=False, truncation=True, max_length=8192).input_ids for text in texts]
    longest = max(map(len, encoded))
    hidden = model.config.get_text_config().hidden_size
    buffer = torch.zeros((len(encoded), longest, hidden), dtype=torch.float16)
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
    decoder = model.get_decoder()
    blocks = decoder.layers
    captured: list[torch.Tensor] = []
    hook = blocks[layer].input_layernorm.register_forward_hook(lambda _m, _a, out: captured.append(out.cpu()))
    decoder.layers = nn.ModuleList(list(blocks)[: layer + 1])
    count = decoder.config.num_hidden_layers
    decoder.config.num_hidden_layers = layer + 1
    try:
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            width = max(len(encoded[row]) for row in rows)
            ids = torch.full((len(rows), width), tokenizer.pad_token_id or 0)
            mask = torch.zeros_like(ids)
            for place, row in enumerate(rows):
                ids[place, : len(encoded[row])] = torch.tensor(encoded[row])
                mask[place, : len(encoded[row])] = 1
            captured.clear()
            with torch.no_grad():
                model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
            buffer[rows, :width] = captured[0].to(torch.float16) * mask[..., None]
    finally:
        hook.remove()
        decoder.layers, decoder.config.num_hidden_layers = blocks, count
    _save(buffer, path)
    return sum(map(len, encoded))


def _save(buffer: torch.Tensor, path: Path) -> None:
    from numcodecs import Zstd

    whole = path.with_suffix(".pt")
    torch.save(buffer, whole)
    codec = Zstd(level=4)
    with whole.open("rb") as source, path.open("wb") as target:
        while piece := source.read(_PIECE):
            target.write(codec.encode(np.frombuffer(piece, dtype=np.uint8)))
