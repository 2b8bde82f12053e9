"""How NumPy reads a Tensor: the array itself, a copy where asked, never one that was forbidden."""
import numpy as np
import pytest

from minideconv import Tensor


def test_reading_copies_only_where_it_must():
    x = Tensor(np.arange(3.0))
    assert np.asarray(x) is x.data and np.asarray(x, np.float64) is x.data
    for copy in (np.array(x), np.asarray(x, np.float32), x.__array__(copy=True), x.__array__(np.float32)):
        assert not np.shares_memory(copy, x.data) and copy.tolist() == [0, 1, 2]
    assert x.__array__(np.float64, copy=False) is x.data
    with pytest.raises(ValueError, match="float64 cannot be read as float32 without a copy"):
        x.__array__(np.float32, copy=False)
