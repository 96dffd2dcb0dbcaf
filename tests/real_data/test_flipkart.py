"""Flipkart's products: prices, missing prices and discounts, agree with DuckDB."""

import pytest
from real_data import check, folder


@pytest.fixture(scope="module")
def source(lake):
    files = folder("flipkart_products") / "*.csv.gz"
    lake.load("flipkart")
    return f"read_csv('{files}', header=true, all_varchar=true, quote='\"', escape='\"')"


def test_counts_and_sums(lake, source):
    query = (
        "SELECT count(*), count(retail_price), CAST(CAST(sum({r}) AS BIGINT) AS VARCHAR), CAST(CAST(sum({d}) AS BIGINT) AS VARCHAR), "
        "count(brand), count(DISTINCT brand), count(product_category_tree) FROM {t}"
    )
    check(
        lake,
        query.format(t="flipkart_products", r="retail_price", d="discounted_price"),
        query.format(t=source, r="retail_price::BIGINT", d="discounted_price::BIGINT"),
    )


def test_text_is_unchanged(lake, source):
    check(
        lake,
        "SELECT uniq_id, product_name, brand, product_category_tree FROM flipkart_products ORDER BY uniq_id",
        f"SELECT uniq_id, product_name, brand, product_category_tree FROM {source} ORDER BY uniq_id",
    )


def test_discounts_give_the_selling_price(lake, source):
    check(
        lake,
        "SELECT id, CAST(CAST(list_price AS BIGINT) AS VARCHAR), CAST(CAST(sale_price AS BIGINT) AS VARCHAR) "
        "FROM partner_feed_cheapest_offer ORDER BY id",
        f"SELECT pid, retail_price, discounted_price FROM {source} WHERE retail_price IS NOT NULL ORDER BY pid",
    )


def test_loading_again_changes_nothing(lake, source):
    before = lake.ask("SELECT count(*), sum(price) FROM vendor_items")
    assert "already loaded" in lake.load("flipkart")
    assert lake.ask("SELECT count(*), sum(price) FROM vendor_items") == before
