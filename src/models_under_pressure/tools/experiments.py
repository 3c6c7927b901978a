"""One sub-command per experiment: reads params.yaml and data/versions.yaml, and hands the stage what it needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models_under_pressure.commands.stage_inputs import dataset_of, datasets_for, read_lineage, read_params

if TYPE_CHECKING:
    from models_under_pressure.params.schema import Params
    from models_under_pressure.stages.experiment_inputs import Input

_PANEL = "Experiments of the paper"
_cascades = typer.Typer(help="A cheap monitor first, an expensive one for the records that are hardest for it.")


def add_to(app: typer.Typer) -> None:
    """Add the sub-commands."""
    app.add_typer(_cascades, name="cascade", rich_help_panel=_PANEL)
    for command in (
        compare_probes,
        extract_layers,
        choose_layer,
        train_on_dev,
        measure_data_efficiency,
        measure_finetuning,
        measure_generalisation,
        measure_calibration,
        compare_templates,
        present_experiments,
        layers,
    ):
        app.command(command.__name__, rich_help_panel=_PANEL)(command)


def compare_probes() -> None:
    """Compare all probe families on the dev and test sets.

    Example: mup compare_probes
    """
    from models_under_pressure.stages import compare_probes as stage

    params = read_params()
    stage.run(
        _inputs(params, "train", "validation", "dev", "test"),
        probes=params.compare_probes.seeded,
        seed=params.seed,
        confidence=params.evaluate.confidence,
    )


def extract_layers() -> None:
    """Extract the training prompts at every layer of `choose_layer.layers`, in one pass.

    Example: mup extract_layers
    """
    from models_under_pressure.stages import extract_layers as stage

    params = read_params()
    stage.run(
        path=Path(read_lineage().datasets["train"].path),
        alias=params.model.name,
        model=params.resolved_model,
        layers=params.choose_layer.layers,
        config=params.extract.model_copy(update={"keep": params.choose_layer.keep}),
    )


def choose_layer() -> None:
    """Cross-validate a probe on several layers.

    Example: mup choose_layer
    """
    from models_under_pressure.stages import choose_layer as stage
    from models_under_pressure.stages.experiment_inputs import Input
    from models_under_pressure.stages.paths import layer_store_path

    params = read_params()
    config, records = params.choose_layer, Path(read_lineage().datasets["train"].path)
    stage.run(
        {layer: Input(layer_store_path(params.model.name, layer), records, "train") for layer in config.layers},
        probe=config.probe,
        folds=config.folds,
        rule=config.rule,
        seed=params.seed,
        confidence=params.evaluate.confidence,
    )


def train_on_dev() -> None:
    """Train with a few samples of each dev set, and test on the test set of the same source.

    Example: mup train_on_dev
    """
    from models_under_pressure.experiments.train_on_dev import Recipe
    from models_under_pressure.stages import train_on_dev as stage

    params = read_params()
    config = params.train_on_dev
    inputs = _inputs(params, "train", "validation", "dev", "test")
    sources = [name.removesuffix("_dev") for name in inputs if name.endswith("_dev")]
    pairs = [(f"{name}_dev", f"{name}_test") for name in sources if f"{name}_test" in inputs]
    used = {"train", "validation", *(name for pair in pairs for name in pair)}
    stage.run(
        {name: one for name, one in inputs.items() if name in used},
        pairs=pairs,
        recipe=Recipe(config.probe, config.fine_tune, config.copies),
        modes=config.modes,
        sizes=config.sizes,
        repeats=config.repeats,
        seed=params.seed,
        confidence=params.evaluate.confidence,
    )


def measure_data_efficiency() -> None:
    """Fit probes on more and more training prompts, and test on the dev sets.

    Example: mup measure_data_efficiency
    """
    from models_under_pressure.stages import measure_data_efficiency as stage

    params = read_params()
    config = params.measure_data_efficiency
    stage.run(
        _inputs(params, "train", "validation", "dev"),
        probes=config.probes,
        sizes=config.sizes,
        repeats=config.repeats,
        seed=params.seed,
        confidence=params.evaluate.confidence,
    )


def measure_finetuning() -> None:
    """Finetune models on more and more training prompts, and test on the dev sets.

    Example: mup measure_finetuning
    """
    from models_under_pressure.stages import measure_finetuning as stage

    params = read_params()
    config = params.measure_finetuning
    shown = ("train", "validation", *datasets_for("dev"))
    stage.run(
        {name: Path(dataset_of(name).path) for name in shown},
        models={name: params.finetuned(name) for name in config.models},
        sizes=config.sizes,
        repeats=config.repeats,
        seed=params.seed,
        confidence=params.evaluate.confidence,
    )


def measure_generalisation() -> None:
    """Train on one kind of prompt, test on every kind.

    Example: mup measure_generalisation
    """
    from models_under_pressure.stages import measure_generalisation as stage

    params = read_params()
    config, inputs = params.measure_generalisation, _inputs(params, "train", "validation")
    stage.run(
        train=inputs["train"],
        validation=inputs["validation"],
        probe=config.probe,
        attributes=config.attributes,
        least=config.least,
        seed=params.seed,
        confidence=params.evaluate.confidence,
    )


@_cascades.callback(invoke_without_command=True)
def cascade(context: typer.Context) -> None:
    """A cheap monitor first, an expensive one for the records that are hardest for it.

    Example: mup cascade
    """
    from models_under_pressure.stages import cascade as stage

    if context.invoked_subcommand:
        return
    params = read_params()
    config, shown = params.cascade, datasets_for("dev", "test")
    stage.run(
        datasets={name: one.purpose for name, one in shown.items()},
        methods={name: params.evaluate.methods_of(name, one.purpose) for name, one in shown.items()},
        pairs=config.monitors,
        shares=config.shares,
        selections=config.selections,
        merge=config.merge,
        seed=params.seed,
        confidence=params.evaluate.confidence,
    )


@_cascades.command("plan")
def plan_cascade(
    budget: Annotated[float, typer.Option(min=0, help="FLOPs of a record, on average, beyond the monitored model's.")],
) -> None:
    """Choose selection, share and thresholds on the dev sets within a budget, and measure them on the test sets.

    Example: mup cascade plan --budget 1e9
    """
    from models_under_pressure.experiments.cascade import to_text
    from models_under_pressure.stages import cascade as stage

    params = read_params()
    config, shown = params.cascade, datasets_for("dev", "test")
    made = stage.make_plan(
        datasets={name: one.purpose for name, one in shown.items()},
        methods={name: params.evaluate.methods_of(name, one.purpose) for name, one in shown.items()},
        pairs=config.monitors,
        budget=budget,
        shares=config.shares,
        selections=config.selections,
        merge=config.merge,
        confidence=params.evaluate.confidence,
    )
    print(to_text(made, budget), end="")


def measure_calibration() -> None:
    """Compare probabilities with labels and with the 1-10 scale, before and after recalibration.

    Example: mup measure_calibration
    """
    from models_under_pressure.experiments.calibration import Judging
    from models_under_pressure.stages import measure_calibration as stage

    params = read_params()
    config, evaluate = params.measure_calibration, params.evaluate
    shown = datasets_for(config.fit_on, "dev", "test")
    stage.run(
        datasets={name: (one.purpose, Path(one.path)) for name, one in shown.items()},
        methods={name: evaluate.methods_of(name, one.purpose) for name, one in shown.items()},
        monitors=config.monitors,
        fit_on=config.fit_on,
        recalibrations=config.recalibrations,
        judging=Judging(evaluate.bins, evaluate.resamples, evaluate.confidence, params.seed),
    )


def compare_templates() -> None:
    """Compare the wordings that prompted models were asked with, on the dev sets.

    Example: mup compare_templates
    """
    from models_under_pressure.stages import compare_templates as stage

    params = read_params()
    stage.run(
        dev={name: Path(one.path) for name, one in datasets_for("dev").items()},
        models={name: config.templates for name, config in params.prompt_baseline.models.items()},
        confidence=params.evaluate.confidence,
    )


def present_experiments() -> None:
    """Draw the figures of the experiments, and gather their metrics.

    Example: mup present_experiments
    """
    from models_under_pressure.stages import present_experiments as stage

    stage.run()


def layers() -> None:
    """Show the layers compared by `choose_layer`, and the one to use.

    Example: mup layers
    """
    from models_under_pressure.core.files import read_json
    from models_under_pressure.experiments.choose_layer import to_table
    from models_under_pressure.stages.paths import RESULTS

    found = read_json(RESULTS / "choose_layer.json")
    print(to_table(found["layers"], found["layer"]), end="")
    used = read_params().probe.layer
    print(f"\nLayer {found['layer']} by the rule `{found['rule']}` ({found['probe']} probe); probe.layer is {used}.")
    if used != found["layer"]:
        print(f"To use it: dvc exp run -S probe.layer={found['layer']}")


def _inputs(params: "Params", *purposes: str) -> "dict[str, Input]":
    """The datasets in use that serve one of the purposes, in the order of data/versions.yaml."""
    from models_under_pressure.stages.experiment_inputs import Input
    from models_under_pressure.stages.paths import store_path

    return {
        name: Input(store_path(params.model.name, name, params.probe.layer), Path(one.path), one.purpose)
        for name, one in datasets_for(*purposes).items()
    }
