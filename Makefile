.PHONY: repro test lint format

repro:   ## the whole pipeline
	uv run dvc repro

test:    ## the tests
	uv run pytest

lint:    ## what CI checks beside the tests
	uv run ruff check .
	uv run ruff format --check .
	uv run pyright
	uv run lint-imports

format:
	uv run ruff check --fix .
	uv run ruff format .
