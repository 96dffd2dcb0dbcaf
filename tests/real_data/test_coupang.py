"""Coupang's snapshots: Korean text, missing ids, and a feed of the newest prices, agree with DuckDB."""

import pytest
from real_data import check, folder

COLUMNS = (
    "{snapshot_time: 'TIMESTAMPTZ', category_code: 'VARCHAR', category_name: 'VARCHAR', rank: 'INTEGER', product_id: 'VARCHAR', "
    "item_id: 'VARCHAR', vendor_item_id: 'VARCHAR', product_name: 'VARCHAR', price_krw: 'BIGINT'}"
)


@pytest.fixture(scope="module")
def source(lake):
    files = folder("coupang_best_products") / "*.csv.gz"
    lake.load("coupang")
    return f"read_csv('{files}', header=true, columns={COLUMNS})"


def newest(source, key):
    return f"(SELECT * FROM {source} WHERE {key} IS NOT NULL QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY snapshot_time DESC, category_code, rank) = 1)"


def test_every_row_of_every_snapshot(lake, source):
    query = (
        "SELECT category_name, count(*), {sum}, count(item_id), count(vendor_item_id), count(DISTINCT product_id) FROM {t} "
        "GROUP BY category_name ORDER BY category_name"
    )
    check(
        lake,
        query.format(t="coupang_best", sum="CAST(sum(price_krw) AS VARCHAR)"),
        query.format(t=source, sum="sum(price_krw)::VARCHAR"),
    )
    query = "SELECT CAST({epoch} AS BIGINT), count(*), min(price_krw), max(price_krw) FROM {t} GROUP BY 1 ORDER BY 1"
    check(
        lake,
        query.format(t="coupang_best", epoch="date_part('epoch', snapshot_time)"),
        query.format(t=source, epoch="epoch(snapshot_time)"),
    )


def test_names_are_unchanged(lake, source):
    check(
        lake,
        "SELECT product_id, name, category FROM products ORDER BY product_id",
        f"SELECT product_id, product_name, category_name FROM {newest(source, 'product_id')} ORDER BY product_id",
    )


def test_feed_is_the_cheapest_newest_offer_of_each_product(lake, source):
    offers = f"SELECT i.product_id, v.vendor_item_id, v.price_krw FROM {newest(source, 'vendor_item_id')} v JOIN {newest(source, 'item_id')} i USING (item_id)"
    check(
        lake,
        "SELECT id, vendor_item_id, CAST(CAST(sale_price AS BIGINT) AS VARCHAR) FROM partner_feed_cheapest_offer ORDER BY id",
        f"SELECT * FROM ({offers}) QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY price_krw, vendor_item_id) = 1 ORDER BY product_id",
    )
