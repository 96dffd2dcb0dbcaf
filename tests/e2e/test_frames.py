"""Notebooks: pandas and polars read from and write to a running server, over ADBC, by a connection and by an address."""

import datetime
import decimal

import adbc_driver_flightsql.dbapi as flight
import pandas
import polars
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

ROWS = 50_000
UTC = datetime.timezone.utc
MOMENT = datetime.datetime(2026, 11, 5, 12, 34, 56, 123456, tzinfo=UTC)


@pytest.fixture(scope="module")
def connection(server):
    with flight.connect(server.flight_url, autocommit=True) as connection:
        server.sql(
            "CREATE TABLE frames (id BIGINT NOT NULL, name VARCHAR, price DECIMAL(12, 2), ratio DOUBLE, ok BOOLEAN, day DATE, "
            "at TIMESTAMP WITH TIME ZONE, raw BYTEA)"
        )
        server.sql(
            "INSERT INTO frames SELECT value, CASE WHEN value % 10 = 0 THEN NULL ELSE 'n' || (value % 7) END, CAST(value AS DECIMAL(12, 2)) / 4, "
            "value / 8.0, value % 2 = 0, DATE '2026-11-01' + CAST(value % 30 AS INT), "
            f"to_timestamp_micros(1793882096123456 + value * 1000000), CAST('raw' AS BYTEA) FROM generate_series(0, {ROWS - 1})"
        )
        yield connection


FIRST = [
    (0, None, decimal.Decimal("0.00"), 0.0, True, datetime.date(2026, 11, 1), MOMENT, b"raw"),
    (1, "n1", decimal.Decimal("0.25"), 0.125, False, datetime.date(2026, 11, 2), MOMENT + datetime.timedelta(seconds=1), b"raw"),
]


def test_pandas_reads_every_type(connection):
    frame = pandas.read_sql("SELECT * FROM frames WHERE id < 2 ORDER BY id", connection, dtype_backend="pyarrow")
    assert [tuple(None if pandas.isna(value) else value for value in row) for row in frame.itertuples(index=False)] == FIRST
    assert frame["id"].dtype == pandas.ArrowDtype(pa.int64())
    assert frame["price"].dtype == pandas.ArrowDtype(pa.decimal128(12, 2))
    assert frame["day"].dtype == pandas.ArrowDtype(pa.date32())
    assert frame["at"].dtype.pyarrow_dtype.tz in ("UTC", "+00:00")
    plain = pandas.read_sql("SELECT id, ratio, ok, at FROM frames WHERE id < 2 ORDER BY id", connection)
    assert (plain["id"].dtype, plain["ratio"].dtype, plain["ok"].dtype) == ("int64", "float64", "bool")
    assert list(plain["at"].dt.tz_convert("UTC")) == [pandas.Timestamp(row[6]) for row in FIRST]


def test_pandas_reads_many_rows_and_by_table(connection):
    frame = pandas.read_sql("SELECT id, name FROM frames", connection)
    assert len(frame) == ROWS and frame["id"].sum() == ROWS * (ROWS - 1) // 2
    assert frame["name"].isna().sum() == ROWS // 10
    whole = pandas.read_sql_table("frames", connection, columns=["id", "day"])
    assert len(whole) == ROWS and list(whole.columns) == ["id", "day"]
    assert len(pandas.read_sql_table("frames", connection, schema="public")) == ROWS


@pytest.mark.parametrize("mode, total", [("fail", 3), ("append", 6), ("replace", 3)])
def test_pandas_writes(server, connection, mode, total):
    frame = pandas.DataFrame({"id": [1, 2, 3], "at": pandas.to_datetime([MOMENT] * 3), "name": ["a", None, "c"]})
    if mode == "fail":
        server.sql("DROP TABLE IF EXISTS frames_written")
    assert frame.to_sql("frames_written", connection, if_exists=mode, index=False) == 3
    (row,) = server.sql("SELECT count(*) AS n, sum(id) AS total, count(name) AS names FROM frames_written")
    assert row == {"n": total, "total": 2 * total, "names": total // 3 * 2}
    read = pandas.read_sql("SELECT DISTINCT at FROM frames_written", connection)
    assert list(read["at"].dt.tz_convert("UTC")) == [pandas.Timestamp(MOMENT)]
    with pytest.raises(ValueError, match="already exists"):
        frame.to_sql("frames_written", connection, if_exists="fail", index=False)


def test_pandas_says_what_is_wrong(connection):
    with pytest.raises(Exception, match="frames"):
        pandas.read_sql("SELECT * FROM frame", connection)
    assert len(pandas.read_sql("SELECT 1 AS one", connection)) == 1


def test_polars_reads_every_type(connection):
    frame = polars.read_database("SELECT * FROM frames WHERE id < 2 ORDER BY id", connection)
    assert frame.rows() == FIRST
    expected = [polars.Int64, polars.String, polars.Decimal(12, 2), polars.Float64, polars.Boolean, polars.Date]
    assert frame.dtypes[:6] == expected and frame.dtypes[7] == polars.Binary
    assert frame.dtypes[6] == polars.Datetime("us", "UTC")
    nested = polars.read_database("SELECT [1, 2] AS li, named_struct('a', 1, 'b', 'x') AS st, arrow_cast('v', 'Utf8View') AS v", connection)
    assert nested.rows() == [([1, 2], {"a": 1, "b": "x"}, "v")]


def test_polars_reads_in_batches_by_cursor_and_by_parameters(connection):
    batches = polars.read_database("SELECT id FROM frames", connection, iter_batches=True, batch_size=1_000)
    assert sum(batch["id"].sum() for batch in batches) == ROWS * (ROWS - 1) // 2
    found = polars.read_database("SELECT id FROM frames WHERE id BETWEEN ? AND ?", connection, execute_options={"parameters": (7, 9)})
    assert sorted(found["id"]) == [7, 8, 9]
    with connection.cursor() as cursor:
        assert polars.read_database("SELECT count(*) AS n FROM frames", cursor).item() == ROWS


def test_polars_reads_by_address(server, connection):
    address = f"flightsql://127.0.0.1:{server.flight_port}?transport=tcp"
    frame = polars.read_database_uri("SELECT id, name FROM frames WHERE id < 2 ORDER BY id", address, engine="adbc")
    assert frame.rows() == [row[:2] for row in FIRST]
    found = polars.read_database_uri("SELECT id FROM frames WHERE id < ?", address, engine="adbc", execute_options={"parameters": (3,)})
    assert sorted(found["id"]) == [0, 1, 2]


def test_polars_writes_what_it_reads_again(server, connection):
    frame = polars.DataFrame(
        {"id": [1, 2], "name": ["a", None], "price": [decimal.Decimal("1.25"), None], "at": [MOMENT, None], "day": [MOMENT.date(), None]},
        schema_overrides={"price": polars.Decimal(12, 2), "at": polars.Datetime("us", "UTC")},
    )
    assert frame.write_database("frames_polars", connection, engine="adbc", if_table_exists="fail") == 2
    assert_frame_equal(polars.read_database("SELECT * FROM frames_polars ORDER BY id", connection), frame)
    assert frame.write_database("frames_polars", connection, engine="adbc", if_table_exists="append") == 2
    assert server.sql("SELECT count(*) AS n FROM frames_polars") == [{"n": 4}]
    assert frame.write_database("frames_polars", connection, engine="adbc", if_table_exists="replace") == 2
    assert server.sql("SELECT count(*) AS n FROM frames_polars") == [{"n": 2}]
