"""Python ADBC, as notebooks and pipelines use it."""

import concurrent.futures
import datetime
import decimal
import threading
import time

import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import pyarrow as pa
import pytest

ROWS = 1_000_000
CALL_HEADER = "adbc.flight.sql.rpc.call_header."


def connect(server, **options):
    return flight.connect(server.flight_url, autocommit=True, db_kwargs=options)


@pytest.fixture
def cursor(server):
    with connect(server) as connection, connection.cursor() as cursor:
        yield cursor


@pytest.fixture(scope="module")
def million(server):
    server.sql("CREATE TABLE million (n BIGINT NOT NULL, s VARCHAR NOT NULL)")
    server.sql(f"INSERT INTO million SELECT value, 'row ' || value FROM generate_series(0, {ROWS - 1})")


def fetch(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetchall()


def test_select(cursor):
    assert fetch(cursor, "SELECT 1 AS one, 'x' AS text") == [(1, "x")]
    assert [column[0] for column in cursor.description] == ["one", "text"]


def test_server_info(server):
    with connect(server) as connection:
        info = connection.adbc_get_info()
        assert info["vendor_name"] == "adlake"
        assert info["vendor_version"]


def test_objects_with_columns(server, cursor):
    cursor.execute("CREATE TABLE adbc_objects (id BIGINT NOT NULL, price DECIMAL(12, 2), at TIMESTAMP WITH TIME ZONE)")
    with connect(server) as connection:
        assert {"TABLE", "VIEW", "MATERIALIZED VIEW", "SYSTEM TABLE"} <= set(connection.adbc_get_table_types())
        (catalog,) = connection.adbc_get_objects(depth="all").read_all().to_pylist()
        assert catalog["catalog_name"] == "adlake"
        schemas = {schema["db_schema_name"]: schema for schema in catalog["catalog_db_schemas"]}
        assert set(schemas) == {"public", "system", "information_schema"}
        tables = {table["table_name"]: table for table in schemas["public"]["db_schema_tables"]}
        assert tables["adbc_objects"]["table_type"] == "TABLE"
        assert [column["column_name"] for column in tables["adbc_objects"]["table_columns"]] == ["id", "price", "at"]
        assert "queries" in {table["table_name"] for table in schemas["system"]["db_schema_tables"]}
        filtered = connection.adbc_get_objects(depth="tables", table_name_filter="adbc\\_obj%").read_all().to_pylist()
        names = [t["table_name"] for s in filtered[0]["catalog_db_schemas"] for t in s["db_schema_tables"] or []]
        assert names == ["adbc_objects"]
        schema = connection.adbc_get_table_schema("adbc_objects")
        assert schema.field("id").type == pa.int64()
        assert schema.field("price").type == pa.decimal128(12, 2)
        assert not schema.field("id").nullable
    cursor.execute("DROP TABLE adbc_objects")


def test_current_catalog_and_schema(server):
    with connect(server) as connection:
        assert connection.adbc_current_catalog == "adlake"
        assert connection.adbc_current_db_schema == "public"
        connection.adbc_current_catalog = "adlake"
        with pytest.raises(adbc_driver_manager.Error):
            connection.adbc_current_catalog = "nowhere"


def test_execute_of_ddl_takes_effect_at_once_and_once(server, cursor):
    """gizmosql#134: `execute` without a fetch did nothing, or did it twice."""
    cursor.execute("CREATE TABLE adbc_ddl (a BIGINT, b VARCHAR)")
    assert server.sql("SELECT count(*) AS n FROM adbc_ddl") == [{"n": 0}]
    cursor.execute("INSERT INTO adbc_ddl VALUES (1, 'x'), (2, 'y')")
    assert cursor.rowcount == 2
    assert server.sql("SELECT count(*) AS n FROM adbc_ddl") == [{"n": 2}]
    cursor.execute("INSERT INTO adbc_ddl VALUES (3, 'z')")
    rows = cursor.fetchall()
    assert rows[0][0] == 1, rows
    assert server.sql("SELECT count(*) AS n FROM adbc_ddl") == [{"n": 3}]
    for number in range(20):
        cursor.execute(f"INSERT INTO adbc_ddl VALUES ({10 + number}, 'again')")
    assert server.sql("SELECT count(*) AS n FROM adbc_ddl WHERE b = 'again'") == [{"n": 20}]
    with pytest.raises(adbc_driver_manager.Error, match="adbc_ddl"):
        cursor.execute("CREATE TABLE adbc_ddl (a BIGINT)")
    cursor.execute("DROP TABLE adbc_ddl")
    assert server.sql("SELECT count(*) AS n FROM system.tables WHERE name = 'adbc_ddl'") == [{"n": 0}]


def test_a_schema_is_told_without_running(server, cursor):
    cursor.execute("CREATE TABLE adbc_schema (a BIGINT, b VARCHAR)")
    schema = cursor.adbc_execute_schema("SELECT a + 1 AS c, b FROM adbc_schema")
    assert schema.names == ["c", "b"]
    cursor.adbc_execute_schema("INSERT INTO adbc_schema VALUES (1, 'x')")
    assert server.sql("SELECT count(*) AS n FROM adbc_schema") == [{"n": 0}]
    cursor.execute("DROP TABLE adbc_schema")


def test_update_counts_rows(server, cursor):
    cursor.execute("CREATE TABLE adbc_update (a BIGINT)")
    statement = adbc_driver_manager.AdbcStatement(cursor.connection.adbc_connection)
    with statement:
        statement.set_sql_query("INSERT INTO adbc_update VALUES (1), (2), (3)")
        assert statement.execute_update() == 3
    cursor.execute("DROP TABLE adbc_update")


def test_delete_counts_rows(server, cursor):
    cursor.execute("CREATE TABLE adbc_delete (a BIGINT, b VARCHAR)")
    cursor.execute("INSERT INTO adbc_delete VALUES (1, 'x'), (2, 'y'), (3, NULL), (4, 'x')")
    cursor.execute("DELETE FROM adbc_delete WHERE b = 'x'")
    assert cursor.rowcount == 2
    assert server.sql("SELECT a FROM adbc_delete ORDER BY a") == [{"a": 2}, {"a": 3}]
    with adbc_driver_manager.AdbcStatement(cursor.connection.adbc_connection) as statement:
        statement.set_sql_query("DELETE FROM adbc_delete WHERE a > 100")
        assert statement.execute_update() == 0
        statement.set_sql_query("DELETE FROM adbc_delete WHERE b IS NULL")
        assert statement.execute_update() == 1
    cursor.execute("DELETE FROM adbc_delete WHERE a = ?", (2,))
    assert cursor.rowcount == 1
    assert server.sql("DELETE FROM adbc_delete WHERE TRUE") == 0
    with pytest.raises(adbc_driver_manager.Error, match="WHERE TRUE"):
        cursor.execute("DELETE FROM adbc_delete")
    cursor.execute("DROP TABLE adbc_delete")


VALUES = {
    "BOOLEAN": [True, False],
    "SMALLINT": [7, -7],
    "INT": [42, -42],
    "BIGINT": [1 << 40, -(1 << 40)],
    "FLOAT": [1.5, -1.5],
    "DOUBLE": [2.25, -2.25],
    "DECIMAL(18, 4)": [decimal.Decimal("123.4500"), decimal.Decimal("-0.0001")],
    "VARCHAR": ["naïve 日本", ""],
    "BYTEA": [b"raw\x00", b"x"],
    "DATE": [datetime.date(2026, 11, 5), datetime.date(1969, 12, 31)],
    "TIMESTAMP WITH TIME ZONE": [
        datetime.datetime(2026, 11, 5, 12, 34, 56, 123456, tzinfo=datetime.timezone.utc),
        datetime.datetime(1960, 1, 1, tzinfo=datetime.timezone.utc),
    ],
}


@pytest.mark.parametrize("kind", VALUES)
def test_parameters_of_every_type(cursor, kind):
    first, second = VALUES[kind]
    cursor.execute("DROP TABLE IF EXISTS adbc_types")
    cursor.execute(f"CREATE TABLE adbc_types (k INT, v {kind})")
    cursor.execute("INSERT INTO adbc_types VALUES (?, ?)", (1, first))
    assert cursor.rowcount == 1
    cursor.executemany("INSERT INTO adbc_types VALUES (?, ?)", [(2, second), (3, None)])
    assert cursor.rowcount == 2
    read = dict(fetch(cursor, "SELECT k, v FROM adbc_types"))
    assert read[1] == first and read[2] == second and read[3] is None
    assert fetch(cursor, "SELECT k FROM adbc_types WHERE v = ?", (first,)) == [(1,)]
    assert fetch(cursor, "SELECT k FROM adbc_types WHERE v = $1", (second,)) == [(2,)]
    cursor.execute("DROP TABLE adbc_types")


def test_several_rows_of_parameters_run_a_query_for_each(cursor, million):
    cursor.execute("SELECT n FROM million WHERE n = ?", pa.record_batch([pa.array([5, 7, 9])], names=["0"]))
    assert cursor.fetchall() == [(5,), (7,), (9,)]


def test_executemany_is_one_commit(server, cursor):
    cursor.execute("CREATE TABLE adbc_many (n BIGINT, s VARCHAR)")
    before = server.sql("SELECT count(*) AS n FROM system.commits WHERE table_name = 'adbc_many'")[0]["n"]
    cursor.executemany("INSERT INTO adbc_many (s, n) VALUES (?, ?)", [(f"row {n}", n) for n in range(5000)])
    assert cursor.rowcount == 5000
    assert server.sql("SELECT count(*) AS n, sum(n) AS s FROM adbc_many WHERE s = 'row ' || n") == [{"n": 5000, "s": 12497500}]
    after = server.sql("SELECT count(*) AS n FROM system.commits WHERE table_name = 'adbc_many'")[0]["n"]
    assert after - before == 1
    cursor.execute("DROP TABLE adbc_many")


def test_prepared_statement_survives_another_connection_s_work(server, million):
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.adbc_prepare("SELECT n FROM million WHERE n = ?")
        for number in range(50):
            assert fetch(cursor, "SELECT n FROM million WHERE n = ?", (number,)) == [(number,)]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_batches_are_read(server, million, codec):
    with connect(server, **{f"{CALL_HEADER}adlake.ipc_compression": codec}) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n, s FROM million WHERE n < 100000 ORDER BY n")
        read = cursor.fetch_arrow_table()
        assert read.column("n").to_pylist() == list(range(100_000))
        assert read.column("s").to_pylist() == [f"row {n}" for n in range(100_000)]


def test_another_compression_is_refused(server):
    with connect(server, **{f"{CALL_HEADER}adlake.ipc_compression": "gzip"}) as connection, connection.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.Error, match="'none', 'lz4' or 'zstd', not 'gzip'"):
            fetch(cursor, "SELECT 1")


def test_a_million_rows(cursor, million):
    cursor.execute("SELECT n, s FROM million")
    read = cursor.fetch_arrow_table()
    assert read.num_rows == ROWS
    numbers = sorted(read.column("n").to_pylist())
    assert numbers == list(range(ROWS))
    assert all(s == f"row {n}" for n, s in zip(read.column("n").to_pylist(), read.column("s").to_pylist()))


def test_results_stream_in_flat_memory(server, cursor, million):
    """First rows long before the last; a result of gigabytes leaves the server's memory flat."""
    start = time.monotonic()
    cursor.execute("SELECT a.n, a.s, b.n FROM million a CROSS JOIN (SELECT n FROM million LIMIT 30) b")
    reader = cursor.fetch_record_batch()
    next(reader)
    first_after = time.monotonic() - start
    before = server.rss_mib()
    rows = sum(batch.num_rows for batch in reader)
    total = time.monotonic() - start
    assert rows > 29 * ROWS
    assert first_after < total / 2, (first_after, total)
    assert server.rss_mib() < before + 300, (before, server.rss_mib())


def test_partitions_are_read_by_another_connection(server, cursor, million):
    partitions, schema = cursor.adbc_execute_partitions("SELECT n, s FROM million WHERE n % 3 = 0")
    assert partitions and schema.names == ["n", "s"]
    total = 0
    with connect(server) as other:
        for partition in partitions:
            with other.cursor() as reader:
                reader.adbc_read_partition(partition)
                table = reader.fetch_arrow_table()
                assert table.schema.names == schema.names
                total += table.num_rows
    assert total == (ROWS + 2) // 3


def test_partitions_of_one_result_are_read_at_once(server, cursor, million):
    cursor.execute("SET adlake.result_endpoints = 4")
    partitions, schema = cursor.adbc_execute_partitions("SELECT n, s FROM million")
    assert len(partitions) == 4 and schema.names == ["n", "s"]

    def read(partition):
        with connect(server) as other, other.cursor() as reader:
            reader.adbc_read_partition(partition)
            return reader.fetch_arrow_table()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(read, partitions))
    assert sorted(n for table in tables for n in table.column("n").to_pylist()) == list(range(ROWS))
    with pytest.raises(adbc_driver_manager.Error, match="run the query again"):
        read(partitions[0])
    partitions, _ = cursor.adbc_execute_partitions("SELECT n, s FROM million")
    assert sum(read(partition).num_rows for partition in partitions) == ROWS, "one after another"
    # The driver itself reads several at once.
    assert sorted(n for n, in fetch(cursor, "SELECT n FROM million WHERE n % 3 = 0")) == list(range(0, ROWS, 3))
    assert sorted(n for n, in fetch(cursor, "SELECT n FROM million WHERE n % 3 = ?", (1,))) == list(range(1, ROWS, 3))
    partitions, _ = cursor.adbc_execute_partitions("SELECT n FROM million ORDER BY n")
    assert len(partitions) == 1


def running(server, text):
    sql = f"SELECT count(*) AS n FROM system.queries WHERE state = 'running' AND sql LIKE '%{text}%' AND sql NOT LIKE '%system.queries%'"
    return server.sql(sql)[0]["n"]


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing changed"
        time.sleep(0.05)


def test_cancel_from_a_second_thread(server, cursor, million):
    cursor.execute("SELECT a.n, b.n, 'cancelled one' FROM million a CROSS JOIN million b")
    outcome = []

    def read():
        try:
            while cursor.fetchmany(100_000):
                pass
            outcome.append("ended")
        except adbc_driver_manager.Error as error:
            outcome.append(error.status_code)

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: running(server, "cancelled one") == 1)
    cursor.adbc_cancel()
    reader.join(60)
    assert outcome == [adbc_driver_manager.AdbcStatusCode.CANCELLED]
    until(lambda: running(server, "cancelled one") == 0)
    assert fetch(cursor, "SELECT 1") == [(1,)]


def test_a_client_that_leaves_ends_its_query(server, million):
    connection = connect(server)
    cursor = connection.cursor()
    cursor.execute("SELECT a.n, b.n, 'left alone' FROM million a CROSS JOIN million b")
    until(lambda: running(server, "left alone") == 1)
    cursor.close()
    connection.close()
    until(lambda: running(server, "left alone") == 0)


@pytest.mark.parametrize(
    "sql, status, word",
    [
        ("SELEC 1", "INVALID_ARGUMENT", "line 1"),
        ("SELECT * FROM millon", "NOT_FOUND", "million"),
        ("SELECT nn FROM million", "INVALID_ARGUMENT", "nn"),
        ("SELECT CAST('x' AS BIGINT)", "INVALID_ARGUMENT", "x"),
        ("INSERT INTO million VALUES ('x', 'y')", "INVALID_ARGUMENT", "x"),
        ("DROP TABLE nowhere", "NOT_FOUND", "nowhere"),
        ("CREATE TABLE million (n BIGINT)", "ALREADY_EXISTS", "million"),
    ],
)
def test_errors_carry_code_and_reason(cursor, million, sql, status, word):
    with pytest.raises(adbc_driver_manager.Error) as caught:
        fetch(cursor, sql)
    assert caught.value.status_code == getattr(adbc_driver_manager.AdbcStatusCode, status), caught.value
    assert word in str(caught.value).lower(), caught.value
    assert fetch(cursor, "SELECT 1") == [(1,)]


def test_user_and_password_open_a_session(server):
    with connect(server, username="ann", password="secret") as connection, connection.cursor() as cursor:
        assert fetch(cursor, "SELECT 1") == [(1,)]
        cursor.execute("SELECT user_name FROM system.queries WHERE sql = 'SELECT 1' AND user_name = 'ann'")
        assert cursor.fetchall()


def test_transactions_are_refused_not_ignored(server):
    with pytest.warns(Warning, match="autocommit"):
        connection = flight.connect(server.flight_url)
    with pytest.raises(adbc_driver_manager.Error) as caught:
        connection.adbc_connection.set_autocommit(False)
    assert caught.value.status_code in (adbc_driver_manager.AdbcStatusCode.NOT_IMPLEMENTED, adbc_driver_manager.AdbcStatusCode.INVALID_STATE), caught.value
    connection.close()


BULK = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "name": pa.array(["a", "b", None])})


def test_bulk_ingest(server, cursor):
    assert cursor.adbc_ingest("adbc_bulk", BULK, mode="create") == 3
    with pytest.raises(adbc_driver_manager.Error) as caught:
        cursor.adbc_ingest("adbc_bulk", BULK, mode="create")
    assert caught.value.status_code == adbc_driver_manager.AdbcStatusCode.ALREADY_EXISTS
    assert cursor.adbc_ingest("adbc_bulk", BULK.select(["name", "id"]), mode="append") == 3
    assert cursor.adbc_ingest("adbc_bulk", BULK, mode="create_append") == 3
    with pytest.raises(adbc_driver_manager.Error):
        cursor.adbc_ingest("adbc_bulk", pa.table({"nam": pa.array(["a"])}), mode="append")
    assert server.sql("SELECT count(*) AS n, sum(id) AS s, count(name) AS names FROM adbc_bulk") == [{"n": 9, "s": 18, "names": 6}]
    other = pa.table({"id": pa.array(["x", "y"]), "at": pa.array([1.5, 2.5])})
    assert cursor.adbc_ingest("adbc_bulk", other, mode="replace") == 2
    assert server.sql("SELECT id, at FROM adbc_bulk ORDER BY id") == [{"id": "x", "at": 1.5}, {"id": "y", "at": 2.5}]
    assert [row["name"] for row in server.sql("SELECT name FROM system.tables WHERE name LIKE 'adbc_bulk%'")] == ["adbc_bulk"]
    cursor.execute("DROP TABLE adbc_bulk")
    assert cursor.adbc_ingest("adbc_bulk", other, mode="replace") == 2, "replace makes a table that is not there"
    # For a table without rows the driver sends no message at all, not even which table: an error, never a silent success.
    with pytest.raises(adbc_driver_manager.Error):
        cursor.adbc_ingest("adbc_bulk", other.slice(0, 0), mode="replace")
    assert server.sql("SELECT count(*) AS n FROM adbc_bulk") == [{"n": 2}]
    cursor.execute("DROP TABLE adbc_bulk")


def test_a_replaced_table_is_never_missing_or_half(server):
    """Readers while a table is replaced over and over see one whole table or the next."""
    table = lambda value: pa.table({"value": pa.array([value] * 1_000)})
    stop, seen, failures = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            try:
                (row,) = server.sql("SELECT min(value) AS low, max(value) AS high, count(*) AS n FROM adbc_swap")
                if row["low"] != row["high"] or row["n"] != 1_000:
                    failures.append(row)
                seen.add(row["low"])
            except Exception as error:  # noqa: BLE001: any failure of a reader fails the test
                failures.append(error)

    with connect(server) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("adbc_swap", table(0), mode="create")
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for value in range(1, 21):
            cursor.adbc_ingest("adbc_swap", table(value), mode="replace")
        stop.set()
        for reader in readers:
            reader.join()
        assert not failures, failures[:3]
        assert len(seen) > 1
        # A view that needs a column holds the table to it.
        cursor.execute("CREATE VIEW adbc_swap_view AS SELECT value + 1 AS more FROM adbc_swap")
        with pytest.raises(adbc_driver_manager.Error):
            cursor.adbc_ingest("adbc_swap", pa.table({"other": [1]}), mode="replace")
        assert server.sql("SELECT max(more) AS more FROM adbc_swap_view") == [{"more": 21}]
        assert [row["name"] for row in server.sql("SELECT name FROM system.tables WHERE name LIKE 'adbc_swap_%'")] == []


def test_nested_and_view_types_survive(cursor):
    cursor.execute(
        "SELECT [1, 2] AS li, named_struct('a', 1, 'b', 'x') AS st, arrow_cast('v', 'Utf8View') AS v, "
        "arrow_cast('w', 'Dictionary(Int32, Utf8)') AS w, [arrow_cast('z', 'Utf8View')] AS lv"
    )
    table = cursor.fetch_arrow_table()
    assert table.to_pylist() == [{"li": [1, 2], "st": {"a": 1, "b": "x"}, "v": "v", "w": "w", "lv": ["z"]}]
    assert table.schema.field("v").type == pa.string() and table.schema.field("w").type == pa.string()
    assert table.schema.field("lv").type == pa.list_(pa.string())
