"""What all tests share: how many examples hypothesis draws, which kernels run, and where real digits lie.

HYPOTHESIS_PROFILE=thorough draws many more examples, and other ones on every run.
"""
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import minideconv as md

# The same examples on every run, so that a red test is red for everybody. No deadline: a kernel's
# first call compiles it. The `kernels` fixture may serve many examples: it sets one name, which no
# example changes.
_common = dict(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
settings.register_profile("default", max_examples=25, derandomize=True, **_common)
settings.register_profile("thorough", max_examples=1000, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

MNIST_FOLDER = os.environ.get("MINIDECONV_DATA")        # read here, before a test hides the variable


@pytest.fixture(params=["reference", "fast"])
def kernels(request):
    """Run the test once with each set of kernels; the value is their name."""
    md.kernels.use(request.param)
    yield request.param
    md.kernels.use("fast")


@pytest.fixture(scope="session")
def mnist_folder():
    """The folder with the MNIST files that MINIDECONV_DATA names; without it, tests that need real
    digits are skipped.
    """
    if not MNIST_FOLDER or not Path(MNIST_FOLDER).is_dir():
        pytest.skip("MINIDECONV_DATA names no folder with the MNIST files")
    return Path(MNIST_FOLDER)
