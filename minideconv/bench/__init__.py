"""Measures this engine on the machine at hand, beside its own readable kernels and beside PyTorch
where that is installed.
"""
from .cases import DEFAULT_GROUPS, GROUPS
from .measure import bench
from .report import chart, table

__all__ = ["DEFAULT_GROUPS", "GROUPS", "bench", "chart", "table"]
