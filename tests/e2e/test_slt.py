"""The project's SQL answers (tests/sql) once more, through Flight SQL and a real client: the wire changes nothing."""

import pytest
from slt import Database, parse, run_file
from support import TOOLS, Server

FILES = sorted((TOOLS.parent / "sql").glob("*.slt"))
CLOCK = "the files are written with a clock that stands still"
LAB = "the files are written without the server's configuration and its background tasks"
# Records that differ, by file and how their SQL begins, and why. Each must differ, so that the list stays true.
DIFFERS = {
    ("basics", "SELECT now()"): CLOCK,
    ("basics", "SELECT current_timestamp - INTERVAL"): CLOCK,
    ("errors", "SELECT $1"): "Flight says it in its own words: bind them first",
    ("errors", "SET query.timeout"): LAB,
    ("materialized_errors", "SELECT count(*) FROM system.views"): LAB,
    ("system", "SELECT key, value, origin FROM system.settings"): LAB,
    ("system", "SHOW ALL"): LAB,
    ("system", "SELECT user_name, origin, state"): "another user, of Flight SQL",
}


def explained(stem, record):
    return next((key for key in DIFFERS if key[0] == stem and record.sql.startswith(key[1])), None)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in FILES])
def test_file(path, tmp_path):
    with Server(tmp_path / "lake") as server:
        good, differences = run_file(path, server.flight_url)
    assert good + len(differences) == len(parse(path.read_text())) > 0
    unexplained = [(record, wrong) for record, wrong in differences if explained(path.stem, record) is None]
    assert not unexplained, "\n\n".join(f"line {record.line}: {wrong}\n{record.sql}" for record, wrong in unexplained[:5])
    met = {explained(path.stem, record) for record, _ in differences}
    assert met == {key for key in DIFFERS if key[0] == path.stem}, "a difference is gone; take it off the list"


def test_a_statement_that_cannot_be_planned_is_one_that_failed(tmp_path):
    with Server(tmp_path / "lake") as server:
        database = Database(server.flight_url)
        assert database.run("SELECT nope")[0] == "error"
        database.close()
        assert server.sql("SELECT state FROM system.queries WHERE sql = 'SELECT nope'") == [{"state": "failed"}]


def test_the_runner_sees_differences(tmp_path):
    """A runner that agrees with everything would prove nothing."""
    file = tmp_path / "wrong.slt"
    file.write_text(
        "query I\nSELECT 1\n----\n2\n\nstatement error\nSELECT 1\n\nstatement ok\nSELEC 1\n\nquery T rowsort\nSELECT 'a'\n----\nb\n\n"
        "statement error\nSELECT x\n----\nnot what it says\n\nquery IT\nSELECT 1, ''\n----\n1 (empty)\n"
    )
    with Server(tmp_path / "lake") as server:
        good, differences = run_file(file, server.flight_url)
    assert good == 1 and len(differences) == 5, differences
