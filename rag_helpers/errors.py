"""Errors that the package raises on purpose.

Every message names three things: the value that was given, the limit it broke
and the cure. The module knows nothing of the steps that raise its errors.
"""

__all__ = [
    "CorpusError",
    "EvaluationError",
    "GeneratorError",
    "IndexIntegrityError",
    "InvalidInputError",
    "MissingExtraError",
    "ModelIntegrityError",
    "ModelNotFoundError",
    "RagError",
    "ScalingError",
    "TrainingError",
]


class RagError(Exception):
    """Base class of every error that this package raises on purpose."""


class InvalidInputError(RagError, ValueError):
    """An argument is outside what the function accepts."""


class MissingExtraError(RagError, ImportError):
    """A package that only some steps need is not installed."""


class ModelNotFoundError(RagError, LookupError):
    """A model is neither a path, nor installed, nor cached, nor reachable."""


class ModelIntegrityError(RagError):
    """A model file is not the file that was expected."""


class CorpusError(RagError):
    """A document cannot be read."""


class IndexIntegrityError(RagError):
    """A saved index is damaged, or belongs to another model or corpus."""


class GeneratorError(RagError):
    """A generator cannot do what was asked of it."""


class EvaluationError(RagError):
    """Gold questions or results cannot be scored."""


class TrainingError(RagError):
    """Training cannot start, or cannot go on."""


class ScalingError(RagError):
    """A cluster cannot be reached, lost its way, or disagrees with itself."""
