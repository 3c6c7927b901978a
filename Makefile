.PHONY: repro test quick slow seconds fuzz coverage lint format

repro:   ## the whole pipeline
	uv run dvc repro

test:    ## the tests
	uv run pytest

quick:   ## those that take less than 0.2 seconds each
	uv run pytest -m "not slow"

slow:    ## the others: the pipeline, kills, servers
	uv run pytest -m slow

seconds: ## the tests, and which of them are slow: on a quiet machine
	uv run pytest --measure

fuzz:    ## ten thousand inputs, drawn anew, for every reader of files
	MUP_FUZZ_EXAMPLES=10000 uv run pytest tests/core/test_fuzzing.py tests/llm/test_damage.py

coverage: ## branches of src that the tests reach; docs/testing.md
	uv run pytest --cov --cov-report=term:skip-covered

lint:    ## what CI checks beside the tests
	uv run ruff check .
	uv run ruff format --check .
	uv run pyright
	uv run lint-imports

format:
	uv run ruff check --fix .
	uv run ruff format .
