"""The Arrow Flight SQL JDBC driver, as DBeaver, Tableau and DataGrip use it: every check of tests/e2e/jdbc is a test, with the
current driver and with an older one that tools still ship."""

import os
import re
import shutil
import subprocess

import pytest
from support import TOOLS

ROWS = 1_000_000
CHECKS = re.findall(r'checks\.put\("(\w+)"', (TOOLS.parent / "e2e/jdbc/src/main/java/adlake/Checks.java").read_text())
# The folder of each driver under tests/.tools/jdbc.
DRIVERS = {"18.3.0": "lib", "17.0.0": "lib-17"}
# What differs, and whose fault it is. Server: a defect of adlake.
ELSEWHERE = "driver: moves times by the zone of the JVM, apache/arrow#35138 and #36518; a JVM with -Duser.timezone=UTC is right"
DIFFERS = {
    "moments_read_elsewhere": ELSEWHERE,
    "moments_bound_elsewhere": ELSEWHERE,
    "dates_bound_elsewhere": ELSEWHERE,
    "small_unsigned_numbers": "driver: reads unsigned numbers of 8, 16 and 32 bits as signed ones",
    "times_without_a_zone": ELSEWHERE,
    "times_by_calendar": "driver: apache/arrow#36518",
    "batch_of_statements": "driver: Statement.executeBatch is a NullPointerException",
    "transactions_are_not_faked": "driver: setAutoCommit(false) and rollback() are accepted and never told to the server, which says it has no transactions",
}


@pytest.fixture(scope="module")
def million(server):
    server.sql("CREATE TABLE million (n BIGINT NOT NULL, s VARCHAR NOT NULL)")
    server.sql(f"INSERT INTO million SELECT value, 'row ' || value FROM generate_series(0, {ROWS - 1})")


@pytest.fixture(scope="module", params=DRIVERS)
def outcomes(request, server, million):
    for row in server.sql("SELECT name FROM system.tables WHERE name LIKE 'jdbc_%'"):
        server.sql(f"DROP TABLE {row['name']}")  # what a failed check of the driver before left
    java = shutil.which("java")
    assert java, "Java is not installed; tests/run.sh tools installs it"
    command = [
        java, "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", f"{TOOLS}/jdbc/classes:{TOOLS}/jdbc/{DRIVERS[request.param]}/*",
        "adlake.Checks", f"jdbc:arrow-flight-sql://127.0.0.1:{server.flight_port}?useEncryption=false", str(ROWS),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    parts = re.split(r"^(ok|FAILED) (\w+)", done.stdout, flags=re.M)
    found = {name: (word, rest) for word, name, rest in zip(parts[1::3], parts[2::3], parts[3::3])}
    assert found, done.stdout + done.stderr
    return found


PARAMETERS = [pytest.param(check, marks=[pytest.mark.xfail(reason=DIFFERS[check], strict=True)] if check in DIFFERS else []) for check in CHECKS]


@pytest.mark.parametrize("check", PARAMETERS)
def test_jdbc(outcomes, check):
    word, text = outcomes.get(check, ("never ran", ""))
    assert word == "ok", text[:4000]


def test_every_check_ran(outcomes):
    assert set(outcomes) == set(CHECKS)


def test_every_difference_is_of_a_check_that_there_is():
    assert set(DIFFERS) <= set(CHECKS)


# What a person types into a JDBC shell, and what it must show.
SCRIPT = """!set outputformat csv
!set showheader true
!set silent true
CREATE TABLE jdbc_sqlline (id BIGINT NOT NULL, name VARCHAR, price DECIMAL(12, 2), at TIMESTAMP WITH TIME ZONE);
INSERT INTO jdbc_sqlline VALUES (1, 'one', 1.25, TIMESTAMPTZ '2026-11-05 12:00:00Z'), (2, NULL, NULL, NULL);
SELECT id, name, price FROM jdbc_sqlline ORDER BY id;
SELECT count(*) AS n, sum(price) AS total FROM jdbc_sqlline;
!tables
!columns "jdbc_sqlline"
!schemas
!primarykeys "jdbc_sqlline"
!metadata getTableTypes
!describe "jdbc_sqlline"
SELECT nope FROM jdbc_sqlline;
SELECT 'still here' AS said;
DELETE FROM jdbc_sqlline WHERE id = 1;
SELECT 'left: ' || count(*) AS said FROM jdbc_sqlline;
DROP TABLE jdbc_sqlline;
!quit
"""
SHOWN = [
    "'id','name','price'", "'1','one','1.25'", "'2','1.25'", "'adlake','public','jdbc_sqlline','TABLE'", "'jdbc_sqlline','id',", "'jdbc_sqlline','price',",
    "'information_schema'", "'MATERIALIZED VIEW'", "column 'nope' not found", "'still here'", "'left: 1'",
]  # fmt: skip


@pytest.mark.parametrize("driver", DRIVERS)
def test_sqlline(server, tmp_path, driver):
    script = tmp_path / "script.sql"
    script.write_text(SCRIPT)
    command = [
        shutil.which("java"), "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", f"{TOOLS}/jdbc/sqlline/*:{TOOLS}/jdbc/{DRIVERS[driver]}/*",
        "sqlline.SqlLine", "-d", "org.apache.arrow.driver.jdbc.ArrowFlightJdbcDriver",
        "-u", f"jdbc:arrow-flight-sql://127.0.0.1:{server.flight_port}?useEncryption=false", "-n", "ann", "-p", "secret", "-f", str(script), "--force=true",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, env={**os.environ, "TERM": "dumb"})
    shown = done.stdout + done.stderr
    missing = [text for text in SHOWN if text not in shown]
    assert not missing, f"{missing} not in\n{shown}"
    assert server.sql("SELECT count(*) AS n FROM system.tables WHERE name = 'jdbc_sqlline'") == [{"n": 0}]
