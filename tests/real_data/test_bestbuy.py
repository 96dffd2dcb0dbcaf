"""The bundled catalog excerpt in data/: loads by the three lines of data/README.md and becomes a partner feed."""

import pytest
from real_data import ROOT, check

FILE = ROOT / "data" / "bestbuy" / "products_33.ndjson"


@pytest.fixture(scope="module", autouse=True)
def loaded(lake):
    lake.load("bestbuy")


def test_every_price_is_exact(lake):
    check(
        lake,
        "SELECT vendor_item_id, CAST(CAST(price AS DECIMAL(18, 2)) AS VARCHAR) FROM vendor_items ORDER BY vendor_item_id",
        f"SELECT sku::VARCHAR, price::DECIMAL(18, 2)::VARCHAR FROM read_json('{FILE}') ORDER BY 1",
    )


def test_feed_has_every_product_once(lake):
    check(
        lake,
        "SELECT count(*), count(DISTINCT id), CAST(CAST(sum(sale_price) AS DECIMAL(18, 2)) AS VARCHAR), count(link), count(brand) "
        "FROM partner_feed_cheapest_offer",
        f"SELECT count(*), count(DISTINCT sku), sum(price::DECIMAL(18, 2))::VARCHAR, count(url), count(manufacturer) "
        f"FROM read_json('{FILE}')",
    )


def test_text_is_unchanged(lake):
    check(
        lake,
        "SELECT product_id, name, brand, description FROM products ORDER BY product_id",
        f"SELECT sku::VARCHAR, name, manufacturer, description FROM read_json('{FILE}') ORDER BY 1",
    )
    check(lake, "SELECT item_id, upc FROM items ORDER BY 1", f"SELECT sku::VARCHAR, upc FROM read_json('{FILE}', columns={{sku: 'BIGINT', upc: 'VARCHAR'}}) ORDER BY 1")
