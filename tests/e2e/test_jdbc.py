"""The Arrow Flight SQL JDBC driver, as DBeaver, Tableau and DataGrip use it: every check of jdbc/Checks.java is a test."""

import re
import shutil
import subprocess

import pytest
from support import TOOLS

ROWS = 1_000_000
CHECKS = re.findall(r'checks\.put\("(\w+)"', (TOOLS.parent / "e2e/jdbc/src/main/java/adlake/Checks.java").read_text())


@pytest.fixture(scope="module")
def outcomes(server):
    java = shutil.which("java")
    assert java, "Java is not installed; tests/run.sh tools installs it"
    server.sql("CREATE TABLE million (n BIGINT NOT NULL, s VARCHAR NOT NULL)")
    server.sql(f"INSERT INTO million SELECT value, 'row ' || value FROM generate_series(0, {ROWS - 1})")
    command = [
        java, "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", f"{TOOLS}/jdbc/classes:{TOOLS}/jdbc/lib/*",
        "adlake.Checks", f"jdbc:arrow-flight-sql://127.0.0.1:{server.flight_port}?useEncryption=false", str(ROWS),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    parts = re.split(r"^(ok|FAILED) (\w+)", done.stdout, flags=re.M)
    found = {name: (word, rest) for word, name, rest in zip(parts[1::3], parts[2::3], parts[3::3])}
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_jdbc(outcomes, check):
    word, text = outcomes.get(check, ("never ran", ""))
    assert word == "ok", text[:4000]
