"""The running average of G's weights, from which samples are taken: it does not follow each round's
quarrel with D (Yazici et al. 2019, "The unusual effectiveness of averaging in GAN training").
"""
import numpy as np


def follow(average, generator, rounds: int, longest: float) -> None:
    """Move the average, a network like the generator, towards it after its `rounds`th round.

    average = d * average + (1 - d) * generator for every weight, d = min(longest, (1 + rounds) /
    (10 + rounds)): short at first, so that the beginning is forgotten. Buffers (batch norm's
    statistics) are averages already: copied.
    """
    share = 1 - min(longest, (1 + rounds) / (10 + rounds))
    for mine, parameter in zip(average.parameters(), generator.parameters(), strict=True):
        mine.memory.write()
        weight = mine.array
        weight += weight.dtype.type(share) * (parameter.array - weight)
    for mine, module in zip(average.modules(), generator.modules(), strict=True):
        for name, value in vars(module).items():
            if isinstance(value, np.ndarray):
                getattr(mine, name)[...] = value
