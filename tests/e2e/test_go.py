"""Go's clients: the ADBC driver with our checks and with ADBC's own validation suite, database/sql, and the integration
scenarios of Arrow Flight. Every test of tests/e2e/go, one by one, is a test here."""

import os
import re
import subprocess

import pytest
from support import TOOLS

BINARY = TOOLS / "go" / "conformance"
SUITES = "TestValidationOf"
BOUND = "driver 1.12.0: a statement that ingested keeps its rows bound and refuses the suite's next query on it; TestAdbcIngestInFourModes checks the modes"
# What differs, and whose fault it is. Server: a defect of adlake.
DIFFERS = {
    "TestValidationOfStatement/TestSqlIngestInts": BOUND,
    "TestValidationOfStatement/TestSqlIngestAppend": BOUND,
    "TestValidationOfStatement/TestSqlIngestReplace": BOUND,
    "TestValidationOfStatement/TestSqlIngestCreateAppend": BOUND,
    "TestValidationOfStatement/TestSqlIngestErrors": "the suite wants INTERNAL for a table that exists, adlake says ALREADY_EXISTS; driver 1.12.0 drops the SQLSTATE it wants",
}


def listed():
    """The tests the binary has; those of suites and scenarios by their own names."""
    if not BINARY.exists():
        return ["TestBinaryIsBuilt"]
    run = subprocess.run([BINARY, "-test.list", "."], env={**os.environ, "ADLAKE_LIST": "1"}, capture_output=True, text=True, check=True)
    names = [line for line in run.stdout.splitlines() if line.startswith("Test")]
    inner = {name.split("/")[0] for name in names if "/" in name}
    assert {"TestScenario", SUITES + "Statement", SUITES + "Connection", SUITES + "Database"} <= inner, names
    return [name for name in names if name not in inner]


def params():
    names = listed()
    for name in names:
        marks = [pytest.mark.xfail(reason=DIFFERS[name], strict=True)] if name in DIFFERS else []
        yield pytest.param(name, marks=marks, id=name)


@pytest.fixture(scope="module")
def outcomes(server):
    assert BINARY.exists(), f"{BINARY} is not built; tests/run.sh tools builds it"
    environment = {**os.environ, "ADLAKE_FLIGHT": f"127.0.0.1:{server.flight_port}"}
    done = subprocess.run([BINARY, "-test.v"], env=environment, capture_output=True, text=True, timeout=900)
    found = {}
    text = re.split(r"^=== (?:RUN|NAME|CONT)\s+(\S+)$", done.stdout, flags=re.M)
    for name, said in zip(text[1::2], text[2::2]):
        for part in (name, name.rsplit("/", 1)[0]):
            found.setdefault(part, ["never ended", ""])[1] += said
    for word, name in re.findall(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", done.stdout, flags=re.M):
        found.setdefault(name, ["", ""])[0] = word
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.parametrize("name", list(params()))
def test_go(outcomes, name):
    word, said = outcomes.get(name, ("never ran", ""))
    assert word == "PASS", f"{word}\n{said[-4000:]}"


def test_every_test_ran(outcomes):
    assert not set(listed()) - set(outcomes)


def test_every_difference_is_of_a_test_that_there_is():
    assert set(DIFFERS) <= set(listed())
