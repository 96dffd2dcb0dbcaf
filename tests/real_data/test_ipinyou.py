"""iPinYou's bidding logs: headerless TSV in China time, and the shipped events made of them, agree with DuckDB."""

import pytest
from real_data import check, folder

NAMES = (
    "bidid log_time log_type ipinyou_id user_agent ip region city ad_exchange domain url url_id slot_id slot_width slot_height "
    "slot_visibility slot_format slot_price creative bid_price pay_price key_page advertiser user_tags"
).split()
COLUMNS = "{" + ", ".join(f"{name}: 'VARCHAR'" for name in NAMES) + "}"
# The log's own digits; the lake holds UTC, eight hours earlier.
CHINA = "to_char(log_time + INTERVAL '8 hours', '%Y%m%d%H%M')"


@pytest.fixture(scope="module")
def logs(lake):
    files = folder("ipinyou_rtb_logs")
    lake.load("ipinyou")

    def source(pattern):
        # Lines without 24 fields are rejected by both.
        return (
            f"read_csv('{files / pattern}', delim='\t', header=false, quote='', escape='', nullstr='', columns={COLUMNS}, "
            "ignore_errors=true, strict_mode=true)"
        )

    return {"impressions": source("imp_*.tsv.gz"), "clicks": source("clk.*.tsv.gz"), "conversions": source("conv.*.tsv.gz")}


@pytest.mark.parametrize("kind", ["impressions", "clicks", "conversions"])
def test_every_line_is_loaded(lake, logs, kind):
    columns = "advertiser, count(*), count(DISTINCT bidid), sum({n}(bid_price{t})), sum({n}(pay_price{t})), sum({n}(region{t})), count(user_tags)"
    ours, theirs = columns.format(n="", t=""), columns.format(n="", t="::BIGINT")
    tail = "GROUP BY advertiser ORDER BY advertiser"
    check(lake, f"SELECT {ours} FROM ipinyou_{kind} {tail}", f"SELECT {theirs} FROM {logs[kind]} {tail}")


def test_one_bad_line_is_in_the_rejects(lake, logs):
    assert lake.ask("SELECT count(*) FROM ipinyou_conversions") == [("326",)]
    ((count,),) = lake.ask("SELECT count(*) FROM system.rejects WHERE table_name = 'ipinyou_conversions'")
    assert count == "1"


def test_times_are_chinas(lake, logs):
    check(
        lake,
        f"SELECT {CHINA}, count(*) FROM ipinyou_clicks GROUP BY {CHINA} ORDER BY 1",
        f"SELECT log_time[1:12], count(*) FROM {logs['clicks']} GROUP BY log_time[1:12] ORDER BY 1",
    )


def test_events_are_counted_once_and_cost_exactly(lake, logs):
    impressions = (
        f"SELECT advertiser, pay_price::BIGINT * 10 AS micros FROM {logs['impressions']} "
        "QUALIFY row_number() OVER (PARTITION BY bidid ORDER BY log_time, pay_price::BIGINT, creative) = 1"
    )
    check(
        lake,
        "SELECT campaign_id, impressions, clicks, conversions, spend_micros FROM campaign_performance ORDER BY campaign_id",
        f"WITH i AS (SELECT advertiser, count(*) AS n, sum(micros)::BIGINT AS micros FROM ({impressions}) GROUP BY advertiser), "
        # A bid clicked twice has one advertiser.
        f"c AS (SELECT advertiser, count(DISTINCT bidid) AS n FROM {logs['clicks']} GROUP BY advertiser), "
        f"v AS (SELECT advertiser, count(DISTINCT (bidid, log_time)) AS n FROM {logs['conversions']} GROUP BY advertiser) "
        "SELECT advertiser, i.n, c.n, coalesce(v.n, 0), i.micros FROM i JOIN c USING (advertiser) LEFT JOIN v USING (advertiser) "
        "ORDER BY advertiser",
    )
