"""SQLAlchemy over flightsql-dbapi: the engine, its inspector, text and built queries, parameters bound and in the text."""

import datetime
import decimal

import pandas
import pytest
import sqlalchemy as sa

PREPARED = "&feature-sqlalchemy-prepared-statements=on"


@pytest.fixture(scope="module")
def table(server):
    server.sql(
        "CREATE TABLE alchemy (id BIGINT NOT NULL, name VARCHAR, price DECIMAL(12, 2), at TIMESTAMP WITH TIME ZONE, day DATE, ok BOOLEAN, "
        "raw BYTEA, ratio DOUBLE, small SMALLINT)"
    )
    server.sql("CREATE VIEW alchemy_view AS SELECT id, name FROM alchemy")
    server.sql(
        "INSERT INTO alchemy VALUES (1, 'a', 1.25, TIMESTAMPTZ '2026-11-05 12:34:56Z', DATE '2026-11-05', true, CAST('x' AS BYTEA), 0.5, 7), "
        "(2, 'it''s', 2.5, NULL, NULL, NULL, NULL, NULL, NULL), (3, 'a', NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    )


@pytest.fixture(params=["in the text", "bound"])
def engine(request, server, table):
    """The dialect (0.2.2) writes parameters into the text unless it is told that the server prepares statements, and then must not
    have SQLAlchemy's cache of texts: with it, a query of the same form is answered with the parameters of the first."""
    engine = engine_of(server, PREPARED) if request.param == "bound" else engine_of(server, query_cache_size=0)
    yield engine
    engine.dispose()


def engine_of(server, more="", user="", **options):
    return sa.create_engine(f"datafusion://{user}127.0.0.1:{server.flight_port}?insecure=true{more}", **options)


TABLE = sa.table("alchemy", *[sa.column(name) for name in ("id", "name", "price", "at", "day", "ok")])


def test_inspector(engine):
    inspector = sa.inspect(engine)
    assert set(inspector.get_schema_names()) == {"public", "system", "information_schema"}
    assert {"alchemy", "alchemy_view"} <= set(inspector.get_table_names("public"))
    assert "queries" in inspector.get_table_names("system") and "alchemy" not in inspector.get_table_names("system")
    assert inspector.has_table("alchemy") and not inspector.has_table("alchemist")
    columns = {column["name"]: column for column in inspector.get_columns("alchemy", schema="public")}
    kinds = {name: type(column["type"]) for name, column in columns.items()}
    assert kinds == {
        "id": sa.BIGINT, "name": sa.TEXT, "price": sa.DECIMAL, "at": sa.TIMESTAMP, "day": sa.DATE, "ok": sa.BOOLEAN, "raw": sa.BINARY,
        "ratio": sa.FLOAT, "small": sa.INTEGER,
    }  # fmt: skip
    assert [name for name, column in columns.items() if not column["nullable"]] == ["id"]
    assert [column["name"] for column in inspector.get_columns("alchemy_view")] == ["id", "name"]


def test_a_table_is_reflected_and_queried(engine):
    table = sa.Table("alchemy", sa.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        query = sa.select(table.c.name, sa.func.count().label("n")).where(table.c.id.in_([1, 2, 3])).group_by(table.c.name)
        rows = connection.execute(query.order_by(sa.desc("n"), table.c.name).limit(2)).fetchall()
        assert rows == [("a", 2), ("it's", 1)]
        assert connection.execute(sa.select(sa.func.sum(table.c.price))).scalar() == decimal.Decimal("3.75")


def test_values_and_names(engine):
    with engine.connect() as connection:
        result = connection.execute(sa.select(*TABLE.c).where(TABLE.c.id == 1))
        assert list(result.keys()) == ["id", "name", "price", "at", "day", "ok"]
        row = result.one()
        assert tuple(row[:3]) == (1, "a", decimal.Decimal("1.25")) and row.ok is True
        assert row.at == datetime.datetime(2026, 11, 5, 12, 34, 56, tzinfo=datetime.timezone.utc)
        assert row.day.date() == datetime.date(2026, 11, 5)


def test_quotes_in_parameters(engine):
    with engine.connect() as connection:
        assert connection.execute(sa.select(TABLE.c.id).where(TABLE.c.name == "it's")).fetchall() == [(2,)]
        assert connection.execute(sa.select(TABLE.c.id).where(TABLE.c.name == "x' OR 'a' = 'a")).fetchall() == []
        query = sa.text("SELECT id FROM alchemy WHERE name = :name AND id > :id").bindparams(name="a", id=1)
        assert connection.execute(query).fetchall() == [(3,)]


def test_text_with_parameters_and_changes(server, table):
    """Given at execution, parameters need the prepared statements."""
    with engine_of(server, PREPARED).connect() as connection:
        query = sa.text("SELECT name FROM alchemy WHERE id = :id AND name = :name AND ratio < :ratio AND ok = :ok")
        assert connection.execute(query, {"id": 1, "name": "a", "ratio": 0.75, "ok": True}).fetchall() == [("a",)]
        connection.execute(sa.text("CREATE TABLE alchemy_written (id BIGINT, name VARCHAR)"))
        for number, name in enumerate(["one", "it's two"]):
            connection.execute(sa.text("INSERT INTO alchemy_written (id, name) VALUES (:id, :name)"), {"id": number, "name": name})
        assert connection.execute(sa.text("SELECT id, name FROM alchemy_written ORDER BY id")).fetchall() == [(0, "one"), (1, "it's two")]
        connection.execute(sa.text("DELETE FROM alchemy_written WHERE id = :id"), {"id": 0})
        assert server.sql("SELECT id FROM alchemy_written") == [{"id": 1}]
        connection.execute(sa.text("DROP TABLE alchemy_written"))
        assert not sa.inspect(connection.engine).has_table("alchemy_written")


def test_errors_and_a_connection_that_lives_on(engine):
    with engine.connect() as connection:
        for sql, word in [("SELECT nope FROM alchemy", "nope"), ("SELECT * FROM alchemi", "alchemy"), ("SELEC 1", "line 1")]:
            with pytest.raises(Exception, match=word):
                connection.execute(sa.text(sql))
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1


def test_user_and_password(server, table):
    with engine_of(server, user="ann:secret@").connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM system.queries WHERE user_name = 'ann'")).scalar() >= 1


def test_a_cursor_of_the_dbapi_feeds_pandas(engine):
    connection = engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("SELECT id, name FROM alchemy ORDER BY id")
    frame = pandas.DataFrame(cursor.fetchall(), columns=[column[0] for column in cursor.description])
    assert list(frame["id"]) == [1, 2, 3] and list(frame["name"]) == ["a", "it's", "a"]
    connection.close()
