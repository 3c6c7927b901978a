"""Extract, list, verify, share and delete activations, of any model on any file of conversations."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from models_under_pressure.activations.config import ExtractConfig, ModelConfig, adapter_fields
from models_under_pressure.activations.extract import extract_files, recompute
from models_under_pressure.activations.model import layer_numbers
from models_under_pressure.activations.store import Entry, dataset_files, entries, open_store, remove, store_path
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import model_aliases, runs_code_of
from models_under_pressure.core.settings import load_settings
from models_under_pressure.remotes.stores import pull_stores, push_stores

app = typer.Typer(help="Extract, list, verify, share and delete activations.", no_args_is_help=True)

_Model = Annotated[str, typer.Option(help="Short name from params.yaml, Hugging Face id, or local path.")]
_Files = Annotated[
    list[str], typer.Option("--dataset", "--datasets", help="File of conversations, or a quoted pattern; repeatable.")
]
_Layers = Annotated[
    str,
    typer.Option(
        "--layer", "--layers", help="Decoder blocks, from 0, such as 11 or 11,15; -1 is what leaves the last one."
    ),
]
_Adapter = Annotated[str | None, typer.Option(help="PEFT adapter: local folder, or Hugging Face id[@revision].")]

_AnyModel = Annotated[str | None, typer.Option("--model", help="Only this model, as in the path.")]
_AnyName = Annotated[list[str] | None, typer.Option("--dataset", "--datasets", help="Only this dataset; repeatable.")]
_AnyLayers = Annotated[str | None, typer.Option("--layer", "--layers", help="Only these layers.")]


@app.command()
def store(
    model: _Model,
    dataset: _Files,
    layer: _Layers,
    adapter: _Adapter = None,
    batch: Annotated[
        int | None, typer.Option(help="Tokens of one forward pass; by default what suits the device.")
    ] = None,
    hook_point: Annotated[
        Literal["residual", "post_norm"], typer.Option(help="What enters the block, or its input norm's output.")
    ] = "residual",
    keep: Annotated[
        Literal["tokens", "mean", "last"], typer.Option(help="Every token, or one vector per conversation.")
    ] = "tokens",
    dtype: Annotated[
        Literal["auto", "fast", "float32", "bfloat16"],
        typer.Option(help="Precision; fast suits the device, auto gives the same numbers on every CPU."),
    ] = "fast",
    quantization: Annotated[Literal["none", "8bit", "4bit"], typer.Option(help="Width of the weights.")] = "none",
    max_tokens: Annotated[int, typer.Option(help="Longest conversation; longer ones are cut and named.")] = 8192,
    strict_template: Annotated[
        bool, typer.Option("--strict-template", help="Refuse what the chat template leaves a character out of.")
    ] = False,
    allow_refused: Annotated[int, typer.Option(help="Conversations that may be refused; they are skipped.")] = 0,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="This process, or a Ray cluster.")] = "local",
    upload: Annotated[bool, typer.Option(help="Push to the activations remote afterwards.")] = False,
) -> None:
    """Extract activations, all layers in one pass; what exists with the same content is skipped.

    Example: mup acts store --model smollm2-135m --layer 11 --dataset data/training/prompts_4x/train.jsonl

    Example: mup acts store --model llama-1b --adapter ./lora --layer -1 --dataset prompts.jsonl
    """
    name = model_aliases().get(model, model)
    source = ModelConfig(
        name=name,
        **adapter_fields(adapter),
        dtype=dtype,
        quantization=quantization,
        trust_remote_code=runs_code_of(name),
    )
    layers = sorted(set(layer_numbers(source, _numbers(layer, sign="-?"))))
    files = dataset_files(dataset)
    root = _root()
    jobs = [(file, {number: store_path(root, model, file, number) for number in layers}) for file in files]
    config = ExtractConfig(
        hook_point=hook_point,
        keep=keep,
        max_tokens=max_tokens,
        strict_template=strict_template,
        allow_refused=allow_refused,
        batch_tokens=batch or "auto",
        engine=engine,
    )
    done: list[Path] = []
    for path, outcome in extract_files(jobs, model=source, config=config):
        print(f"{outcome:8} {path}")
        done.append(path)
    if upload:
        push_stores(done, root=Path())


@app.command("list")
def list_stores(model: _AnyModel = None, dataset: _AnyName = None, layer: _AnyLayers = None) -> None:
    """List stores with their counts, size and settings.

    Example: mup acts list --model smollm2-135m
    """
    for entry in _entries(model, dataset, layer):
        print(f"{entry.path!s:60} {entry.summary}")


@app.command()
def verify(
    path: Annotated[Path | None, typer.Argument(help="A store; by default those that match the options.")] = None,
    model: _AnyModel = None,
    dataset: _AnyName = None,
    layer: _AnyLayers = None,
    sample: Annotated[int, typer.Option(help="Conversations to compute again; 0 compares checksums only.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of their choice.")] = 0,
) -> None:
    """Compare stores with their checksums, and a sample of their conversations with the model.

    Example: mup acts verify data/activations/smollm2-135m/layer_16/dev/mt_dev.zarr
    """
    for found in [path] if path else [entry.path for entry in _entries(model, dataset, layer) if entry.finished]:
        opened = open_store(found)
        if sample == 0 or opened.attributes["keep"] != "tokens":
            opened.verify()
            print(f"{found}: checksums agree")
            continue
        trusted = runs_code_of(str(opened.attributes.get("model")))
        results = recompute(opened, sample=sample, seed=seed, trust_remote_code=trusted)
        same, worst = sum(result.identical for result in results), max(result.difference for result in results)
        print(
            f"{found}: checksums agree; {same} of {len(results)} conversations identical, worst differs by {worst:.2%}"
        )


@app.command()
def delete(
    model: _AnyModel = None,
    dataset: _AnyName = None,
    layer: _AnyLayers = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False,
) -> None:
    """Delete local stores, finished or not; what a remote holds stays there.

    Example: mup acts delete --model llama-1b --layer 11
    """
    if not (model or dataset or layer):
        raise UserError("nothing is named.", remedy="give --model, --dataset or --layer.")
    for entry in list(_entries(model, dataset, layer)):
        if not dry_run:
            remove(entry)
        print(f"{'would delete' if dry_run else 'deleted'} {entry.path}")


@app.command()
def sync(model: _AnyModel = None, dataset: _AnyName = None, layer: _AnyLayers = None) -> None:
    """Push finished stores to the activations remote, and pull those that are there and not here.

    A store that no stage made gets a file of its own, `layer_<L>.zarr.dvc`: commit it, and others can pull the store.

    Example: mup acts sync --model smollm2-135m --dataset mt_dev --layer 16
    """
    finished = [entry.path for entry in _entries(model, dataset, layer) if entry.finished]
    for store in push_stores(finished, root=Path()):
        print(f"new to DVC: {store}.dvc (commit it)")
    names = [Path(name).stem for name in dataset or []]
    pull_stores(_root(), model=model, datasets=names, layers=_numbers(layer) if layer else [], root=Path())


def _numbers(text: str, *, sign: str = "") -> list[int]:
    if not re.fullmatch(rf"{sign}\d+(,{sign}\d+)*", text.replace(" ", "")):
        raise UserError(f"{text!r} is not a list of layers.", remedy="write numbers with commas, such as 11,15.")
    return sorted({int(number) for number in text.split(",")})


def _entries(model: str | None, datasets: list[str] | None, layers: str | None) -> Iterator[Entry]:
    names = [Path(name).stem for name in datasets or []]
    return entries(_root(), model=model, datasets=names, layers=_numbers(layers) if layers else [])


def _root() -> Path:
    return load_settings().activations_dir or Path("data/activations")
