"""Apache Superset over flightsql-dbapi: connect, browse schemas, tables and columns, run charts and SQL Lab, by its own API."""

import json
import subprocess

import pytest
from support import TOOLS

PYTHON = TOOLS / "superset" / "bin" / "python"
PREPARED = "&feature-sqlalchemy-prepared-statements=on"
COUNT = {"expressionType": "SQL", "sqlExpression": "count(*)", "label": "clicks"}
SPEND = {"expressionType": "SIMPLE", "aggregate": "SUM", "column": {"column_name": "price"}, "label": "spend"}


@pytest.fixture(scope="module")
def superset(server, tmp_path_factory):
    """A function that calls Superset's API; its answer's status and body."""
    assert PYTHON.exists(), f"{PYTHON} is not there; tests/run.sh tools installs it"
    server.sql(
        "CREATE TABLE clicks (id BIGINT NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, country VARCHAR, price DECIMAL(12, 2), day DATE) "
        "WITH (event_time='event_time', event_key='id', partition_by='day(event_time)', sort_by='country')"
    )
    server.sql(
        "INSERT INTO clicks SELECT value, to_timestamp_micros((1793491200 + value * 37) * 1000000), 'c' || (value * value % 10), "
        "CAST(value AS DECIMAL(12, 2)) / 4, DATE '2026-11-01' + CAST(value % 30 AS INT) FROM generate_series(0, 9999)"
    )
    server.sql("CREATE VIEW clicks_by_country AS SELECT country, count(*) AS clicks FROM clicks GROUP BY country")
    home = tmp_path_factory.mktemp("superset")
    program = TOOLS.parent / "e2e" / "superset_api.py"
    with open(home / "log", "w") as log:
        process = subprocess.Popen([PYTHON, program, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def call(method, path, body=None):
        process.stdin.write(json.dumps([method, path, body]) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, (home / "log").read_text()[-4000:]
        return json.loads(line)

    yield call
    process.stdin.close()
    process.wait(60)


@pytest.fixture(scope="module")
def database(server, superset):
    status, body = superset(
        "POST", "/api/v1/database/",
        {"database_name": "adlake", "sqlalchemy_uri": f"datafusion://127.0.0.1:{server.flight_port}?insecure=true{PREPARED}", "expose_in_sqllab": True},
    )  # fmt: skip
    assert status == 201, body
    return body["id"]


@pytest.fixture(scope="module")
def dataset(superset, database):
    status, body = superset("POST", "/api/v1/dataset/", {"database": database, "schema": "public", "table_name": "clicks"})
    assert status == 201, body
    return body["id"]


def chart(superset, dataset, query):
    source = {"id": dataset, "type": "table"}
    status, body = superset("POST", "/api/v1/chart/data", {"datasource": source, "force": True, "queries": [{"row_limit": 1000, **query}]})
    assert status == 200, body
    (result,) = body["result"]
    assert result["status"] == "success", result
    return result["data"]


def test_a_wrong_address_is_refused(superset):
    uri = "datafusion://127.0.0.1:1?insecure=true"
    status, body = superset("POST", "/api/v1/database/", {"database_name": "nobody there", "sqlalchemy_uri": uri})
    assert status in (400, 422) and "127.0.0.1:1" in json.dumps(body), body


def test_schemas_tables_and_columns(superset, database):
    status, body = superset("GET", f"/api/v1/database/{database}/schemas/")
    assert status == 200 and {"public", "system", "information_schema"} <= set(body["result"])
    status, body = superset("GET", f"/api/v1/database/{database}/tables/?q=(schema_name:public)")
    assert status == 200 and {"clicks", "clicks_by_country"} == {table["value"] for table in body["result"]}
    status, body = superset("GET", f"/api/v1/database/{database}/table_metadata/?name=clicks&schema=public")
    kinds = {column["name"]: column["type"] for column in body["columns"]}
    assert kinds == {"id": "BIGINT", "event_time": "TIMESTAMP", "country": "TEXT", "price": "DECIMAL", "day": "DATE"}


def test_columns_of_a_dataset_know_what_they_are(superset, dataset):
    status, body = superset("GET", f"/api/v1/dataset/{dataset}")
    columns = {column["column_name"]: column for column in body["result"]["columns"]}
    assert set(columns) == {"id", "event_time", "country", "price", "day"}
    assert {name for name, column in columns.items() if column["is_dttm"]} == {"event_time", "day"}


def test_a_chart_of_groups(server, superset, dataset):
    query = {"columns": ["country"], "metrics": [COUNT, SPEND], "orderby": [[COUNT, False]], "filters": [{"col": "country", "op": "!=", "val": "c0"}]}
    rows = chart(superset, dataset, query)
    expected = server.sql("SELECT country, count(*) AS clicks, sum(price) AS spend FROM clicks WHERE country <> 'c0' GROUP BY country")
    key = lambda row: (row["country"], row["clicks"], float(row["spend"]))
    assert sorted(map(key, rows)) == sorted(map(key, expected)) and len(rows) == 5
    assert [row["clicks"] for row in rows] == sorted((row["clicks"] for row in rows), reverse=True)
    limited = chart(superset, dataset, {**query, "row_limit": 2})
    assert len(limited) == 2


def test_a_chart_within_a_time_range(server, superset, dataset):
    query = {"columns": [], "metrics": [COUNT], "granularity": "event_time", "time_range": "2026-11-01T00:00:00 : 2026-11-03T00:00:00"}
    (row,) = chart(superset, dataset, query)
    (expected,) = server.sql("SELECT count(*) AS clicks FROM clicks WHERE event_time < '2026-11-03T00:00:00Z'")
    assert row == expected and 0 < row["clicks"] < 10_000


def test_raw_rows_and_values_for_a_filter(superset, dataset):
    rows = chart(superset, dataset, {"columns": ["id", "country", "price"], "metrics": [], "filters": [{"col": "id", "op": "IN", "val": [3, 5]}]})
    assert sorted((row["id"], row["country"], float(row["price"])) for row in rows) == [(3, "c9", 0.75), (5, "c5", 1.25)]
    status, body = superset("GET", f"/api/v1/datasource/table/{dataset}/column/country/values/")
    assert status == 200 and set(body["result"]) == {"c0", "c1", "c4", "c5", "c6", "c9"}


def test_sql_lab(superset, database):
    ask = {"database_id": database, "schema": "public", "runAsync": False, "queryLimit": 2}
    sql = "SELECT country, clicks FROM clicks_by_country ORDER BY clicks DESC, country"
    status, body = superset("POST", "/api/v1/sqllab/execute/", {**ask, "sql": sql})
    assert status == 200 and body["data"] == [{"country": "c1", "clicks": 2000}, {"country": "c4", "clicks": 2000}]
    status, body = superset("POST", "/api/v1/sqllab/execute/", {**ask, "sql": "SELECT countri FROM clicks"})
    assert status >= 400 and "country" in json.dumps(body)
