"""`python -m models_under_pressure` is `mup`."""

from models_under_pressure.cli import main

main()
