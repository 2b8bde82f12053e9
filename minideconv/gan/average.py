"""The running average of G's weights, from which samples are taken: it does not follow each round's
quarrel with D (Yazici et al. 2019, "The unusual effectiveness of averaging in GAN training").
"""
import numpy as np

from .. import parallel


class RunningAverage:
    """Keeps `average`, a network like the generator, beside it. What they consist of is looked up once."""

    def __init__(self, average, generator):
        self._weights = list(zip(average.parameters(), generator.parameters(), strict=True))
        self._modules = list(zip(average.modules(), generator.modules(), strict=True))

    def follow(self, rounds: int, longest: float) -> None:
        """Move the average towards the generator after its `rounds`th round.

        average = d * average + (1 - d) * generator for every weight, d = min(longest, (1 + rounds) /
        (10 + rounds)): short at first, so that the beginning is forgotten. Buffers (batch norm's
        statistics) are averages already: copied.
        """
        share = 1 - min(longest, (1 + rounds) / (10 + rounds))

        def move(weight, target):
            step = target - weight
            step *= weight.dtype.type(share)
            weight += step
        for mine, parameter in self._weights:
            mine.memory.write()
            parallel.over_rows(move, np.atleast_1d(mine.array), np.atleast_1d(parameter.array))
        for mine, module in self._modules:
            for name, value in vars(module).items():
                if isinstance(value, np.ndarray):
                    getattr(mine, name)[...] = value
