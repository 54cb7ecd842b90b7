"""Whether two models differ by more than chance on the same lines."""

from __future__ import annotations

import math

_EXACT = 1000
"""Up to so many differing lines the binomial is summed; beyond, its normal limit is good to four digits."""


def mcnemar(fixed: int, broken: int) -> float:
    """Return the two-sided p-value of McNemar's test (1947), exact for small counts.

    Only the lines on which two models differ say anything: were the models equally good, each of these would
    fall to either side by the toss of a coin.

    Args:
        fixed: Lines that the first model reads wrong and the second right.
        broken: Lines that the first reads right and the second wrong.

    >>> mcnemar(0, 0), mcnemar(5, 0), round(mcnemar(40, 20), 4)
    (1.0, 0.0625, 0.0135)
    """
    differing, fewer = fixed + broken, min(fixed, broken)
    if differing <= _EXACT:
        tail = sum(math.comb(differing, count) for count in range(fewer + 1))
        return min(1.0, float(2 * tail / 2**differing))
    deviation = max(0.0, abs(fixed - broken) - 1) / math.sqrt(differing)  # with Edwards's continuity correction
    return math.erfc(deviation / math.sqrt(2))
