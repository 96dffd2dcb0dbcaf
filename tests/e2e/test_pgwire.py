"""PostgreSQL's protocol with its own clients: psql, psycopg (3), psycopg2, and SQLAlchemy's dialect."""

import datetime
import decimal
import os
import ssl
import subprocess
import threading
import time

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import pq
from support import Server, free_port

PORT = "pgwire.port"


def serve(folder, settings=None):
    keys = {"pgwire.enabled": "true", PORT: free_port(), **(settings or {})}
    server = Server(folder / "lake", settings=keys)
    server.pgwire_port = keys[PORT]
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("pgwire")) as running:
        running.sql(
            "CREATE TABLE wire (id BIGINT NOT NULL, name VARCHAR, price DECIMAL(12, 2), at TIMESTAMP WITH TIME ZONE, day DATE, "
            "ok BOOLEAN, raw BYTEA, ratio DOUBLE, small SMALLINT)"
        )
        running.sql("CREATE VIEW wire_view AS SELECT id, name FROM wire")
        running.sql("CREATE MATERIALIZED VIEW wire_names AS SELECT name, count(*) AS n FROM wire GROUP BY name")
        running.sql(
            "INSERT INTO wire VALUES (1, 'a', 1.25, TIMESTAMPTZ '2026-11-05 12:34:56Z', DATE '2026-11-05', true, "
            "CAST('x' AS BYTEA), 0.5, 7), (2, 'it''s', 2.5, NULL, NULL, NULL, NULL, NULL, NULL)"
        )
        yield running


def psql(server, *commands, user="ann", password=None, more="", code=0):
    """What psql prints, unaligned and without headings."""
    url = f"postgresql://{user}@127.0.0.1:{server.pgwire_port}/adlake{more}"
    arguments = ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", url]
    for command in commands:
        arguments += ["-c", command]
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def connect(server, **options):
    return psycopg.connect(host="127.0.0.1", port=server.pgwire_port, user="ann", dbname="adlake", **options)


def test_psql_queries(server):
    assert psql(server, "SELECT id, name FROM wire ORDER BY id") == "1|a\n2|it's\n"
    assert psql(server, "INSERT INTO wire (id, name) VALUES (3, 'c')", "DELETE FROM wire WHERE id = 3") == "INSERT 0 1\nDELETE 1\n"
    assert "42P01" in psql(server, "\\set VERBOSITY verbose", "SELECT * FROM nowhere", code=1)
    assert "LINE 1: SELECT id FORM wire" in psql(server, "SELECT id FORM wire WHERE", code=1)


def test_psql_browses(server):
    assert psql(server, "\\dt") == "public|wire|table|adlake\n"
    assert psql(server, "\\dv") == "public|wire_view|view|adlake\n"
    assert psql(server, "\\dm") == "public|wire_names|materialized view|adlake\n"
    assert [line.split("|")[1] for line in psql(server, "\\d").splitlines()] == ["wire", "wire_names", "wire_view"]
    columns = [line.split("|")[:2] for line in psql(server, "\\d wire").splitlines()]
    assert columns == [
        ["id", "bigint"], ["name", "text"], ["price", "numeric(12,2)"], ["at", "timestamp with time zone"], ["day", "date"],
        ["ok", "boolean"], ["raw", "bytea"], ["ratio", "double precision"], ["small", "smallint"],
    ]  # fmt: skip
    assert psql(server, "\\d wire_view").splitlines()[0].startswith("id|bigint|")
    assert "public|adlake" in psql(server, "\\dn")
    assert psql(server, "\\l").startswith("adlake|adlake|UTF8")


def test_psql_fetches_in_parts(server):
    assert psql(server, "\\set FETCH_COUNT 0", "SELECT count(*) FROM generate_series(1, 100000)") == "100000\n"


def test_psycopg_values(server):
    with connect(server, autocommit=True) as connection:
        row = connection.execute("SELECT * FROM wire WHERE id = %s", [1]).fetchone()
        moment = datetime.datetime(2026, 11, 5, 12, 34, 56, tzinfo=datetime.timezone.utc)
        assert row == (1, "a", decimal.Decimal("1.25"), moment, datetime.date(2026, 11, 5), True, b"x", 0.5, 7)
        for binary in [False, True]:
            cursor = connection.cursor(binary=binary)
            found = cursor.execute(
                "SELECT %s::BIGINT, %s::VARCHAR, %s::DECIMAL(20, 4), %s::DATE, %s::BOOLEAN, %s::DOUBLE",
                [7, "x", decimal.Decimal("-1.2345"), datetime.date(1969, 1, 2), True, 1e-9],
            ).fetchone()
            assert found == (7, "x", decimal.Decimal("-1.2345"), datetime.date(1969, 1, 2), True, 1e-9)
            assert cursor.execute("SELECT make_array(1, NULL), INTERVAL '1 day'").fetchone() == ([1, None], datetime.timedelta(days=1))
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO wire (id, name) VALUES (%s, %s)", [(10, "x"), (11, None)])
            assert cursor.execute("DELETE FROM wire WHERE id >= %s", [10]).rowcount == 2


def test_psycopg_blocks(server):
    with connect(server) as connection:
        assert connection.execute("SELECT count(*) FROM wire").fetchone() == (2,)
        assert connection.info.transaction_status == pq.TransactionStatus.INTRANS
        connection.rollback()
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
        assert connection.info.transaction_status == pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
        connection.execute("INSERT INTO wire (id) VALUES (20)")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="stays"):
            connection.rollback()
        assert connection.execute("DELETE FROM wire WHERE id = 20").rowcount == 1
        connection.commit()


def test_psycopg_cancels(server):
    with connect(server, autocommit=True) as connection:
        threading.Timer(0.5, connection.cancel).start()
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT count(*) FROM generate_series(1, 1000000000000)")
        assert time.monotonic() - started < 30
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_psycopg_streams(server):
    with connect(server, autocommit=True) as connection, connection.cursor() as cursor:
        total = sum(value for (value,) in cursor.stream("SELECT value FROM generate_series(1, 200000)"))
        assert total == 200000 * 200001 // 2


@pytest.fixture(scope="module")
def engine(server):
    engine = sa.create_engine(f"postgresql+psycopg2://ann@127.0.0.1:{server.pgwire_port}/adlake")
    yield engine
    engine.dispose()


def test_sqlalchemy_inspects(engine):
    inspector = sa.inspect(engine)
    assert inspector.default_schema_name == "public"
    assert {"public", "system", "information_schema"} <= set(inspector.get_schema_names())
    assert inspector.get_table_names() == ["wire"]
    assert set(inspector.get_view_names()) >= {"wire_view"}
    assert inspector.has_table("wire") and not inspector.has_table("wired")
    columns = {column["name"]: column for column in inspector.get_columns("wire")}
    kinds = {name: type(column["type"]).__name__ for name, column in columns.items()}
    assert kinds == {
        "id": "BIGINT", "name": "TEXT", "price": "NUMERIC", "at": "TIMESTAMP", "day": "DATE", "ok": "BOOLEAN", "raw": "BYTEA",
        "ratio": "DOUBLE_PRECISION", "small": "SMALLINT",
    }  # fmt: skip
    assert [name for name, column in columns.items() if not column["nullable"]] == ["id"]
    assert inspector.get_pk_constraint("wire")["constrained_columns"] == []
    assert inspector.get_foreign_keys("wire") == [] and inspector.get_indexes("wire") == []


def test_sqlalchemy_reflects_and_queries(engine):
    table = sa.Table("wire", sa.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        query = sa.select(table.c.id, table.c.price).where(table.c.name == sa.bindparam("name")).order_by(table.c.id)
        assert connection.execute(query, {"name": "it's"}).all() == [(2, decimal.Decimal("2.50"))]
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 2


def test_passwords_over_tls(tmp_path):
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    keys = {
        "pgwire.enabled": "true", PORT: free_port(), "tls.certificate": certificate, "tls.key": key, "auth.mode": "on",
    }  # fmt: skip
    with Server(tmp_path / "lake", settings=keys, tls=ssl.create_default_context(cafile=certificate)) as server:
        server.pgwire_port = keys[PORT]
        token = next(line.strip() for line in server.log.read_text().splitlines() if line.strip().startswith("adlake_"))
        make = "CREATE USER ann PASSWORD 'a long password' ROLE analyst"
        assert psql(server, make, user="admin", password=token, more="?sslmode=require") == "CREATE USER\n"
        who = "SELECT current_user"
        assert psql(server, who, password="a long password", more="?sslmode=require") == "ann\n"
        verified = f"?sslmode=verify-full&sslrootcert={certificate}"
        assert psql(server, who, password="a long password", more=verified) == "ann\n"
        assert "password authentication failed" in psql(server, who, password="wrong password", more="?sslmode=require", code=2)
        assert "speaks TLS" in psql(server, who, password="a long password", more="?sslmode=disable", code=2)
