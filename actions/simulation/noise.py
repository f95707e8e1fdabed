"""Noise that depends on the seed, the step and its purpose only.

Nothing is drawn from a running generator, so neither the order of requests nor a restart can change what comes next.
"""

from functools import lru_cache
from zlib import crc32

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def uniform(seed: int, step: int, purpose: str) -> float:
    """Return a number in [0, 1), the same for the same arguments (SplitMix64's finaliser, Steele et al. 2014)."""
    word = (seed * 0xD1342543DE82EF95 + _salt(purpose) + step * _GOLDEN) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((word ^ (word >> 31)) >> 11) / (1 << 53)


def centred(seed: int, step: int, purpose: str) -> float:
    """Return a number in about [-1, 1] with mean 0, heavier in the middle (the mean of two uniforms)."""
    return uniform(seed, 2 * step, purpose) + uniform(seed, 2 * step + 1, purpose) - 1.0


@lru_cache(maxsize=256)
def _salt(purpose: str) -> int:
    return crc32(purpose.encode()) * 0x2545F4914F6CDD1D & _MASK
