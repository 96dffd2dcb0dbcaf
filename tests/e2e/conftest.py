"""Fixtures: one server per test file, a fresh one per test where a test says so."""

import pytest
from support import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("lake") / "lake") as running:
        yield running
