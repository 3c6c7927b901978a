"""The shipped concept, and the forms and questions that it makes."""

from functools import partial

from models_under_pressure.baselines.prompted import questions
from models_under_pressure.core.concept import load_concept
from models_under_pressure.datasets.labelling import LabelConfig, labeller, rating_form
from models_under_pressure.synthesis.questions import metadata_form, prompt_form, rewritten_form, situation_form, writer

STAKES = load_concept("stakes")
LABELLER = labeller(STAKES, LabelConfig())
WRITER = writer(STAKES)

StakesReply = rating_form("stakes")
SituationPair = situation_form(STAKES.classes, "stakes")
PromptPair = prompt_form(STAKES.classes)
RewrittenPair = rewritten_form(STAKES.classes)
Metadata = metadata_form(STAKES.classes, "stakes")
load_template = partial(questions.load_template, concept=STAKES)
