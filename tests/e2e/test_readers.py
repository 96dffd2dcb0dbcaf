"""Tables are plain Delta: deltalake, DuckDB and Polars read them and agree with the server on every row."""

import decimal

import duckdb
import polars
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from support import files

TABLE = """
CREATE TABLE readers (
  id BIGINT NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL, country VARCHAR, price DECIMAL(12, 2), ok BOOLEAN, day DATE, raw BYTEA, ratio DOUBLE
) WITH (event_time='at', event_key='id', partition_by='day(at)', sort_by='country, at')
"""
INSERT = """
INSERT INTO readers
SELECT value, to_timestamp_micros((1793491200 + value * 37) * 1000000), CASE WHEN value % 7 = 0 THEN NULL ELSE 'c' || (value % 20) END,
  CAST(value AS DECIMAL(12, 2)) / 4, value % 2 = 0, DATE '2026-11-01' + CAST(value % 30 AS INT), CAST('raw ' || value AS BYTEA), value / 8.0
FROM generate_series({first}, {last})
"""
COLUMNS = ["id", "at", "country", "price", "ok", "day", "raw", "ratio"]


@pytest.fixture(scope="module")
def table(server):
    """Several commits, an added column, duplicates that must not show."""
    server.sql(TABLE)
    server.sql(INSERT.format(first=0, last=9999))
    server.sql(INSERT.format(first=10000, last=19999))
    server.sql(INSERT.format(first=5000, last=14999))
    server.sql("ALTER TABLE readers ADD COLUMN note VARCHAR")
    server.sql("INSERT INTO readers (id, at, note) VALUES (20000, TIMESTAMPTZ '2026-11-20 00:00:00+00', 'late column')")
    (row,) = server.sql("SELECT path FROM system.tables WHERE name = 'readers'")
    (found,) = [log.parent for log in files(server.lake).rglob("_delta_log") if str(log.parent).endswith(row["path"])]
    return found


def normal(rows):
    def value(v):
        if isinstance(v, memoryview):
            return bytes(v)
        if isinstance(v, decimal.Decimal):
            return v.normalize()
        return v.astimezone(tz=None).timestamp() if hasattr(v, "astimezone") else v

    return sorted((tuple(value(v) for v in row) for row in rows), key=lambda row: row[0])


@pytest.fixture(scope="module")
def expected(server, table):
    import adbc_driver_flightsql.dbapi as flight

    with flight.connect(server.flight_url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(COLUMNS)}, note FROM readers")
        rows = normal(cursor.fetchall())
    assert len(rows) == 20001
    assert [row[0] for row in rows] == list(range(20001))
    return rows


def test_deltalake(table, expected):
    read = DeltaTable(str(table)).to_pyarrow_table(columns=[*COLUMNS, "note"])
    assert normal(zip(*[column.to_pylist() for column in read.columns])) == expected


def test_duckdb(table, expected):
    """By the file list of the log, as DuckDB's own Delta extension may not be installable here."""
    dataset = DeltaTable(str(table)).to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.sql("SET TimeZone = 'UTC'")
        connection.register("readers", dataset)
        quoted = ", ".join(f'"{name}"' for name in COLUMNS)
        rows = connection.sql(f"SELECT {quoted}, note FROM readers").fetchall()
        assert normal(rows) == expected
        files = DeltaTable(str(table)).file_uris()
        listed = connection.read_parquet(files, union_by_name=True)
        assert listed.aggregate("count(*), sum(id), sum(price)").fetchall()[0] == (20001, 200010000, decimal.Decimal("49997500.00"))


def test_polars(table, expected):
    read = polars.read_delta(str(table)).select([*COLUMNS, "note"])
    assert normal(read.rows()) == expected


def test_every_reader_sees_an_old_version(server, table):
    """A version read again is the same version: time travel by any Delta reader."""
    delta = DeltaTable(str(table))
    newest = delta.version()
    counts = [DeltaTable(str(table), version=version).to_pyarrow_dataset().count_rows() for version in range(newest + 1)]
    assert counts[0] == 0 and counts[-1] == 20001 and counts == sorted(counts)


def test_schema_is_plain(table):
    schema = pa.schema(DeltaTable(str(table)).schema().to_arrow())
    assert schema.field("id").type == pa.int64() and not schema.field("id").nullable
    assert schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("price").type == pa.decimal128(12, 2)
    assert schema.field("note").nullable


def test_maintained_table(server, table, expected):
    """Last, as it changes the files: after OPTIMIZE and VACUUM every reader agrees, and earlier versions are still there."""
    before = DeltaTable(str(table))
    server.sql("OPTIMIZE TABLE readers")
    after = DeltaTable(str(table))
    assert after.version() > before.version()
    assert len(after.file_uris()) < len(before.file_uris())
    assert after.history(1)[0]["operation"] == "OPTIMIZE"
    server.sql("VACUUM TABLE readers RETAIN '1 hour'")
    test_deltalake(table, expected)
    test_duckdb(table, expected)
    test_polars(table, expected)
    old = DeltaTable(str(table), version=before.version()).to_pyarrow_table(columns=[*COLUMNS, "note"])
    assert normal(zip(*[column.to_pylist() for column in old.columns])) == expected
    (row,) = server.sql("SELECT count(*) AS n, sum(id) AS total FROM readers")
    assert (row["n"], row["total"]) == (20001, 200010000)
