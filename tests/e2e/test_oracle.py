"""DuckDB as a second oracle: what views and rewritten queries answer is what DuckDB makes of the source's own files."""

import datetime
import decimal

import adbc_driver_flightsql.dbapi as flight
import duckdb
import pytest
from deltalake import DeltaTable
from support import files

TABLE = """
CREATE TABLE visits (
  id BIGINT NOT NULL, seen_at TIMESTAMP WITH TIME ZONE NOT NULL, country VARCHAR, ad VARCHAR, price BIGINT, amount DECIMAL(12, 2), ok BOOLEAN
) WITH (event_time='seen_at', event_key='id', partition_by='day(seen_at)', sort_by='ad, seen_at')
"""
# Around the end of summer time in Europe, some columns without a value.
INSERT = """
INSERT INTO visits
SELECT value, to_timestamp_micros((1792800000 + value * 41) * 1000000), CASE WHEN value % 7 = 0 THEN NULL ELSE 'c' || (value % 5) END,
  CASE WHEN value % 11 = 0 THEN '' ELSE 'ad' || (value % 9) END, CASE WHEN value % 13 = 0 THEN NULL ELSE value % 100 - 20 END,
  CAST(value % 1000 AS DECIMAL(12, 2)) / 4, CASE WHEN value % 17 = 0 THEN NULL ELSE value % 3 = 0 END
FROM generate_series({first}, {last})
"""
MINUTE, HOUR, DAY = ("date_trunc('{}', seen_at)".format(unit) for unit in ("minute", "hour", "day"))

# Columns of a view, and what they are grouped by.
VIEWS = {
    "by_minute": (f"{MINUTE} AS minute, ad, country, count(*) AS visits, count(price) AS priced, sum(price) AS spend, "
                  "min(price) AS least, max(price) AS most, sum(amount) AS amount", 3),
    "by_day": (f"{DAY} AS day, bool_or(ok) AS any_ok, bool_and(ok) AS all_ok, sum(price) FILTER (WHERE ok) AS good", 1),
    "by_country": ("country, count(*) AS visits, count(DISTINCT ad) AS ads", 1),
}
# Queries on the table, which views may answer or not.
QUERIES = [
    f"SELECT {HOUR} AS hour, count(*) AS n, sum(price) AS spend FROM visits GROUP BY 1",
    f"SELECT {DAY} AS day, ad, sum(amount) AS amount, min(price) AS least FROM visits GROUP BY 1, 2",
    "SELECT country, count(*) AS n, count(price) AS priced FROM visits GROUP BY 1",
    "SELECT count(*) AS n, sum(price) AS spend, max(price) AS most FROM visits WHERE ad = 'nobody'",
    "SELECT ad, count(*) AS n FROM visits WHERE seen_at >= TIMESTAMPTZ '2026-10-25 00:00:30+00' AND seen_at < TIMESTAMPTZ '2026-10-26 01:02:03+00' GROUP BY 1",
    "SELECT ad, sum(price) AS spend FROM visits WHERE country = 'c3' GROUP BY 1 HAVING count(*) > 100",
    "SELECT ad, sum(price) AS spend FROM visits WHERE price > 10 GROUP BY 1",
]


def normal(rows):
    def value(v):
        if isinstance(v, datetime.datetime):
            return v.timestamp() if v.tzinfo else v.replace(tzinfo=datetime.timezone.utc).timestamp()
        return v.normalize() if isinstance(v, decimal.Decimal) else v

    return sorted((tuple(value(v) for v in row) for row in rows), key=repr)


def query_of(columns, keys):
    return f"SELECT {columns} FROM visits GROUP BY {', '.join(str(key) for key in range(1, keys + 1))}"


@pytest.fixture(scope="module")
def table(server):
    server.sql(TABLE)
    for view, (columns, keys) in VIEWS.items():
        server.sql(f"CREATE MATERIALIZED VIEW {view} WITH (refresh='manual') AS {query_of(columns, keys)}")
    (row,) = server.sql("SELECT path FROM system.tables WHERE name = 'visits'")
    (found,) = [log.parent for log in files(server.lake).rglob("_delta_log") if log.parent.name == row["path"]]
    return found


def compare(server, table):
    """Every answer of the server with DuckDB's over the files of the newest version."""
    with duckdb.connect() as oracle, flight.connect(server.flight_url, autocommit=True) as connection:
        oracle.sql("SET TimeZone = 'UTC'")
        oracle.register("visits", DeltaTable(str(table)).to_pyarrow_dataset())
        asked = [(f"SELECT * FROM {view}", query_of(*parts)) for view, parts in VIEWS.items()]
        asked += [(query, query) for query in QUERIES]
        with connection.cursor() as cursor:
            for sql, same in asked:
                cursor.execute(sql)
                assert normal(cursor.fetchall()) == normal(oracle.sql(same).fetchall()), sql
            # The sums of all rows in one number each: the oracle looks at what the server looks at.
            cursor.execute("SELECT count(*), sum(id) FROM visits")
            assert normal(cursor.fetchall()) == normal(oracle.sql("SELECT count(*), sum(id) FROM visits").fetchall())


def refresh(server):
    for view in VIEWS:
        server.sql(f"REFRESH MATERIALIZED VIEW {view}")


def test_views_and_rewritten_queries_are_what_duckdb_says(server, table):
    server.sql(INSERT.format(first=0, last=9_999))
    refresh(server)
    compare(server, table)
    # A view kept as a whole is as of its last refresh: it is compared after one.
    server.sql(INSERT.format(first=10_000, last=11_999))
    server.sql("REFRESH MATERIALIZED VIEW by_country")
    compare(server, table)
    assert server.sql("DELETE FROM visits WHERE id % 10 = 3 AND seen_at < TIMESTAMPTZ '2026-10-26 00:00:00+00'") > 0
    server.sql("REFRESH MATERIALIZED VIEW by_country")
    compare(server, table)
    server.sql(INSERT.format(first=0, last=4_999))
    refresh(server)
    server.sql("OPTIMIZE TABLE visits")
    compare(server, table)


def test_the_oracle_sees_a_difference(server, table):
    """A comparison that cannot fail proves nothing."""
    with duckdb.connect() as oracle:
        oracle.register("visits", DeltaTable(str(table), version=1).to_pyarrow_dataset())
        then = oracle.sql("SELECT count(*) FROM visits").fetchall()
    (now,) = server.sql("SELECT count(*) AS n FROM visits")
    assert then != [(now["n"],)]
