"""Askers that answer in this process."""

from stakes import StakesReply

from models_under_pressure.core.files import stable_uniform
from models_under_pressure.datasets.steps.tools import FirstSentenceReply, SystemPromptReply
from models_under_pressure.llm.ask import Answer, Failure


class Asker:
    """Keeps what it was asked; its judgement depends on the text of the question alone."""

    def __init__(self, fails=()):
        self.asked, self.fails = [], fails

    def __call__(self, asks, /):
        self.asked += asks
        return [self._answer(ask) for ask in asks]

    def _answer(self, ask):
        if ask.record_id in self.fails:
            return Failure(ask.record_id, "timeout", "too late")
        return Answer(reply(ask), "judge")


def reply(ask):
    text = ask.messages[-1].content
    if ask.reply is FirstSentenceReply:
        return FirstSentenceReply(sentence="You work for a bank.")
    if ask.reply is SystemPromptReply:
        return SystemPromptReply(system_prompt="You work for a bank, and may call [f()].")
    drawn = stable_uniform(ask.messages[0].content, text)
    stakes = 2 if drawn < 0.45 else 9 if drawn < 0.9 else 5
    return StakesReply(explanation=f"drawn {drawn:.2f}", stakes=stakes, confidence=8)
