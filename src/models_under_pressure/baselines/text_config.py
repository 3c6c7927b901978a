"""How the text baselines are fitted; no heavy imports, because every command reads it with params.yaml."""

from pydantic import BaseModel, ConfigDict, Field


class TextBaselineConfig(BaseModel):
    """TF-IDF features and the classifiers on them; the defaults are the paper's (section C.6, scikit-learn names)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_features: int = Field(default=20_000, ge=1)
    """Most frequent word n-grams that are kept."""
    longest_ngram: int = Field(default=3, ge=1)
    """Words of the longest n-gram."""
    min_documents: int = Field(default=3, ge=1)
    """Training records that an n-gram must occur in."""
    max_document_share: float = Field(default=0.9, gt=0, le=1)
    """Share of the training records that an n-gram may occur in."""
    inverse_regularisation: float = Field(default=1.0, gt=0)
    """Of the linear SVM and the logistic regression (C)."""
    control_seeds: int = Field(default=5, ge=1)
    """Shuffles of the training labels that the control is fitted on."""
