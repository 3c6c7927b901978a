"""`python -m models_under_pressure` is `mup`; stages are started so."""

import sys

# A pipeline starts this dozens of times. Where PYTHONDONTWRITEBYTECODE is set, as in many container images, each start
# would compile every library anew: 2 s for a stage that asks a chat model, 3 to 4 s for one that imports torch.
sys.dont_write_bytecode = False

from models_under_pressure.cli import main  # noqa: E402

main()
