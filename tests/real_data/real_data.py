"""Loads a set with load.sh into a lake of the test's and asks it; DuckDB answers the same question from the raw files."""

import csv
import io
import os
import subprocess
from pathlib import Path

import duckdb
import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ADLAKE = os.environ.get("ADLAKE", str(ROOT / "target" / "release" / "adlake"))
DATA = Path(os.environ.get("ADLAKE_REAL_DATA", ROOT.parent / "shared" / "data"))


def folder(name):
    """The folder of a set; without it the test is skipped, and says which folder is missing."""
    path = DATA / name
    if not path.is_dir():
        pytest.skip(f"real data is missing: no folder {path}; set ADLAKE_REAL_DATA to where the sets are")
    return path


class Lake:
    def __init__(self, path):
        self.path = Path(path)

    def load(self, name):
        """Runs load.sh; returns what it printed."""
        environment = {**os.environ, "ADLAKE": ADLAKE, "ADLAKE_REAL_DATA": str(DATA)}
        command = ["bash", str(HERE / "load.sh"), name, str(self.path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def ask(self, sql):
        """Rows of a query, each value as text ('' for NULL)."""
        command = [ADLAKE, "sql", "--lake", str(self.path), "--format", "csv", "-c", sql]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{sql}\n{done.stderr}"
        return [tuple(row) for row in csv.reader(io.StringIO(done.stdout))][1:]


def raw(sql):
    """The same from DuckDB, as text."""
    return [tuple("" if value is None else str(value) for value in row) for row in duckdb.sql(sql).fetchall()]


def check(lake, sql, duckdb_sql):
    """Both give the same rows in the same order, and at least one."""
    got, expected = lake.ask(sql), raw(duckdb_sql)
    assert expected and got == expected, f"{sql}\n got      {got[:5]}\n expected {expected[:5]}"
