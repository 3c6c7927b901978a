"""What a probe must not be used for, as every card says it."""

LIMITS = (
    "To decide anything about a person. A score says where a human should look; it is no finding.",
    "As proof that a conversation is harmless: the true positive rates below say how much is missed.",
    "On traffic unlike the control set: the promised false positive rate is about that traffic. `mup drift` compares.",
    "At a false positive rate for which the threshold was refused: too few control conversations stand behind it.",
    "With another model, revision, layer, hook point or chat template (it refuses), or in a language or a domain that "
    "no dataset below has records of.",
    "Against people who know the probe and try to evade it, unless that was measured.",
)
