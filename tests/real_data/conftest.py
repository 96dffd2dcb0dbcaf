"""A fresh lake per test file."""

import pytest
from real_data import Lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return Lake(tmp_path_factory.mktemp("real") / "lake")
