"""TalkingData's ad clicks: counts and sums agree with DuckDB reading the same file; loading it again changes nothing."""

import pytest
from real_data import check, folder

COLUMNS = (
    "{ip: 'BIGINT', app: 'INTEGER', device: 'INTEGER', os: 'INTEGER', channel: 'INTEGER', click_time: 'TIMESTAMP', "
    "attributed_time: 'TIMESTAMP', is_attributed: 'INTEGER'}"
)


@pytest.fixture(scope="module")
def source(lake):
    files = folder("talkingdata_clicks") / "*.csv.gz"
    lake.load("talkingdata")
    return f"read_csv('{files}', header=true, columns={COLUMNS})"


def test_counts_and_sums(lake, source):
    columns = "count(*), sum(ip), sum(app), sum(device), sum(os), sum(channel), sum(is_attributed), count(attributed_time)"
    check(lake, f"SELECT {columns} FROM talkingdata_clicks", f"SELECT {columns} FROM {source}")


def test_clicks_by_hour(lake, source):
    check(
        lake,
        "SELECT to_char(date_trunc('hour', click_time), '%Y-%m-%d %H'), count(*), count(DISTINCT ip), sum(is_attributed) "
        "FROM talkingdata_clicks GROUP BY 1 ORDER BY 1",
        f"SELECT strftime(date_trunc('hour', click_time), '%Y-%m-%d %H'), count(*), count(DISTINCT ip), sum(is_attributed) "
        f"FROM {source} GROUP BY 1 ORDER BY 1",
    )


def test_top_channels_of_an_app_in_half_a_day(lake, source):
    where = "app = 3 AND click_time >= TIMESTAMP{tz} '2017-11-07 00:00:00' AND click_time < TIMESTAMP{tz} '2017-11-07 12:00:00'"
    query = "SELECT channel, count(*) FROM {t} WHERE {w} GROUP BY channel ORDER BY count(*) DESC, channel LIMIT 20"
    check(lake, query.format(t="talkingdata_clicks", w=where.format(tz="TZ")), query.format(t=source, w=where.format(tz="")))


def test_seconds_from_click_to_download(lake, source):
    query = "SELECT sum({attributed} - {click}), min({attributed} - {click}), max({attributed} - {click}) FROM {t} WHERE is_attributed = 1"
    ours = {name: f"CAST(date_part('epoch', {name}_time) AS BIGINT)" for name in ("attributed",)}
    ours["click"] = "CAST(date_part('epoch', click_time) AS BIGINT)"
    theirs = {"attributed": "epoch(attributed_time)::BIGINT", "click": "epoch(click_time)::BIGINT"}
    check(lake, query.format(t="talkingdata_clicks", **ours), query.format(t=source, **theirs))


def test_loading_again_changes_nothing(lake, source):
    before = lake.ask("SELECT count(*), sum(ip) FROM talkingdata_clicks")
    assert "already loaded" in lake.load("talkingdata")
    assert lake.ask("SELECT count(*), sum(ip) FROM talkingdata_clicks") == before
