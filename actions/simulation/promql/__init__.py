"""A documented subset of PromQL over the series of a world. What is not in the subset is an error that names it."""

from .evaluation import Matrix, Sample, Series, Source, Vector, evaluate
from .parsing import parse
from .syntax import QueryRefused

__all__ = ["Matrix", "QueryRefused", "Sample", "Series", "Source", "Vector", "evaluate", "parse"]
