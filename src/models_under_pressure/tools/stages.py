"""One sub-command per stage, in the order of the pipeline."""

import typer

from models_under_pressure.commands import data_stages, monitor_stages, result_stages

_PANEL = "Stages of the pipeline"


def add_to(app: typer.Typer) -> None:
    """Add the sub-commands."""
    for command in (
        data_stages.download,
        data_stages.fetch,
        data_stages.parse,
        data_stages.synthesise,
        data_stages.relabel,
        data_stages.label_deployment,
        data_stages.check_overlap,
        data_stages.describe,
        monitor_stages.extract,
        monitor_stages.train,
        monitor_stages.score_probes,
        monitor_stages.text_baseline,
        monitor_stages.prompt_baseline,
        monitor_stages.ask_baseline,
        monitor_stages.finetune_baseline,
        monitor_stages.score_finetuned,
        result_stages.evaluate,
        result_stages.summarise,
        monitor_stages.score_tokens,
        result_stages.plot,
        result_stages.report,
    ):
        app.command(command.__name__, rich_help_panel=_PANEL)(command)
