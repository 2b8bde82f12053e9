"""Winograd's minimal filterings: two outputs of an m-tap filter from m + 1 products instead of 2 m.

A filter g of two taps gives two neighbouring outputs with three products instead of four (F(2, 2)):

    y0 = d0 g0 + d1 g1 = (d0 - d1) g0 + d1 (g0 + g1)
    y1 = d1 g0 + d2 g1 =                d1 (g0 + g1) - (d1 - d2) g1

and one of three taps with four instead of six (F(2, 3); Lavin and Gray 2016 brought these to
convolutions). The numbers in the matrices are -1, 0, 1 and 1/2: small integers stay exact.
"""
from typing import NamedTuple

import numpy as np


class Filtering(NamedTuple):
    """y = outputs.T @ ((taps @ g) * (data @ d)): m + 1 entries d, m taps g, two outputs y."""
    data: np.ndarray        # (m+1, m+1)
    taps: np.ndarray        # (m+1, m)
    outputs: np.ndarray     # (m+1, 2): transposed, a row for each combination


FILTERINGS = {
    2: Filtering(np.array([[1., -1, 0], [0, 1, 0], [0, 1, -1]]), np.array([[1., 0], [1, 1], [0, 1]]),
                 np.array([[1., 0], [1, 1], [0, -1]])),
    3: Filtering(np.array([[1., 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
                 np.array([[2., 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
                 np.array([[1., 0], [1, 1], [1, -1], [0, -1]]))}
