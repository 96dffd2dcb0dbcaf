"""Queries of the lake past the server: DuckDB's own Delta extension and Polars' lazy scan, with filters they push into partitions
and statistics, answer as the server does; also after rows were deleted and files merged. (test_readers.py reads every row.)"""

import json
import subprocess

import polars
import pytest
from deltalake import DeltaTable
from support import ON_S3, TOOLS, files

pytestmark = pytest.mark.skipif(ON_S3, reason="the extension is told a folder")
# An environment of its own: the extension that PyPI has is of this DuckDB.
DUCKDB = TOOLS / "duckdb" / "bin" / "python"
PROGRAM = """
import duckdb, duckdb_ext, json, pathlib, sys
(extension,) = pathlib.Path(duckdb_ext.__file__).parent.rglob("delta.duckdb_extension")
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
connection.execute(f"LOAD '{extension}'")
for query in json.load(sys.stdin):
    print(json.dumps(connection.sql(query).fetchall(), default=str))
"""
QUERIES = [
    "SELECT count(*) AS n, CAST(sum(id) AS BIGINT) AS total, count(country) AS known FROM {table}",
    "SELECT country, count(*) AS n, CAST(max(price) * 100 AS BIGINT) AS cents FROM {table} WHERE id BETWEEN 5000 AND 15000 "
    "GROUP BY country ORDER BY n DESC, country",
    "SELECT count(*) AS n FROM {table} WHERE {at} >= {from} AND {at} < {to}",
    "SELECT id, country, note FROM {table} WHERE note IS NOT NULL ORDER BY id",
]
OURS = {"table": "scans", "at": "at", "from": "TIMESTAMPTZ '2026-11-03 00:00:00Z'", "to": "TIMESTAMPTZ '2026-11-05 00:00:00Z'"}


@pytest.fixture(scope="module", params=["as written", "after DELETE", "after OPTIMIZE"])
def table(request, server):
    """The folder of the table, in each state one after the other."""
    if request.param == "as written":
        server.sql(
            "CREATE TABLE scans (id BIGINT NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL, country VARCHAR, price DECIMAL(12, 2)) "
            "WITH (event_time='at', event_key='id', partition_by='day(at)', sort_by='country, at')"
        )
        for first in (0, 10_000):
            server.sql(
                "INSERT INTO scans SELECT value, to_timestamp_micros((1793491200 + value * 37) * 1000000), "
                "CASE WHEN value % 7 = 0 THEN NULL ELSE 'c' || (value % 20) END, CAST(value AS DECIMAL(12, 2)) / 4 "
                f"FROM generate_series({first}, {first + 9_999})"
            )
        server.sql("ALTER TABLE scans ADD COLUMN note VARCHAR")
        server.sql("INSERT INTO scans (id, at, note) VALUES (20000, TIMESTAMPTZ '2026-11-20 00:00:00+00', 'late column')")
    elif request.param == "after DELETE":
        assert server.sql("DELETE FROM scans WHERE country = 'c3'") > 0
    else:
        server.sql("OPTIMIZE TABLE scans")
    (row,) = server.sql("SELECT path FROM system.tables WHERE name = 'scans'")
    (found,) = [log.parent for log in files(server.lake).rglob("_delta_log") if str(log.parent).endswith(row["path"])]
    return found


def answers(server):
    return [[[str(value) for value in row.values()] for row in server.sql(query.format(**OURS))] for query in QUERIES]


def test_duckdb_s_own_extension(server, table):
    assert DUCKDB.exists(), f"{DUCKDB} is not there; tests/run.sh tools installs it"
    theirs = {"table": f"delta_scan('{table}')", "at": '"at"', "from": OURS["from"], "to": OURS["to"]}
    queries = json.dumps([query.format(**theirs) for query in QUERIES])
    run = subprocess.run([DUCKDB, "-c", PROGRAM], input=queries, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    found = [[[str(value) for value in row] for row in json.loads(line)] for line in run.stdout.splitlines()]
    assert found == answers(server)


def test_polars_lazy_scan(server, table):
    scan = polars.scan_delta(str(table))
    expected = answers(server)
    total = scan.select(polars.len(), polars.col("id").sum(), polars.col("country").count()).collect().row(0)
    assert [[str(value) for value in total]] == expected[0]
    after, before = polars.datetime(2026, 11, 3, time_zone="UTC"), polars.datetime(2026, 11, 5, time_zone="UTC")
    within = scan.filter((polars.col("at") >= after) & (polars.col("at") < before)).select(polars.len())
    assert [[str(within.collect().item())]] == expected[2]
    noted = scan.filter(polars.col("note").is_not_null()).select("id", "country", "note").sort("id").collect()
    assert [[str(value) for value in row] for row in noted.rows()] == expected[3]
    assert DeltaTable(str(table)).to_pyarrow_dataset().count_rows() == int(expected[0][0][0])
