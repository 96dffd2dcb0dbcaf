//! The bundled Best Buy products (CC0) as rows of `products`, `items`, `vendor_items` and `discounts`.
//!
//! | of a record | becomes |
//! |---|---|
//! | sku, name, manufacturer, category path, description, url, image | one product |
//! | upc, model | its one item |
//! | price, shipping | the offer of vendor `bestbuy` |
//! | (invented) every product: 5 % off the price, 4.99 shipping, every third sold out | the offer of vendor `sample-outlet` |
//! | (invented) every fourth product: 10 % | a discount on the `bestbuy` offer |

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::failure::Failure;

const RECORDS: &str = include_str!("../../../data/bestbuy/products_33.ndjson");

/// All rows carry the same moment, so that the files, and with them exactly-once loading, stay the same.
const UPDATED_AT: &str = "2026-01-01T00:00:00Z";

#[derive(Deserialize)]
struct Record {
    sku: u64,
    name: String,
    price: serde_json::Number,
    upc: String,
    category: Vec<Category>,
    /// A number, or "" when unknown.
    shipping: Value,
    description: String,
    manufacturer: String,
    model: String,
    url: String,
    image: String,
}

#[derive(Deserialize)]
struct Category {
    name: String,
}

/// Writes one NDJSON file per table; returns table and file in the order to load them.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(folder: &Path) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    fs::create_dir_all(folder)?;
    let rows = rows()?;
    let mut files = Vec::new();
    for (table, rows) in rows {
        let path = folder.join(format!("{table}.ndjson"));
        let mut file = BufWriter::new(File::create(&path)?);
        rows.iter().try_for_each(|row| writeln!(file, "{row}"))?;
        file.flush()?;
        files.push((table, path));
    }
    Ok(files)
}

fn rows() -> Result<[(&'static str, Vec<Value>); 4], Failure> {
    let mut tables = [("products", vec![]), ("items", vec![]), ("vendor_items", vec![]), ("discounts", vec![])];
    let [products, items, offers, discounts] = &mut tables;
    for (index, line) in RECORDS.lines().enumerate() {
        let record: Record = serde_json::from_str(line)?;
        let item = format!("{}-1", record.sku);
        let cents = cents(&record.price)?;
        products.1.push(product(&record));
        items.1.push(json!({
            "item_id": item, "product_id": record.sku.to_string(), "updated_at": UPDATED_AT,
            "upc": record.upc, "model": record.model,
        }));
        let offer = |vendor: &str, cents: i64, shipping: Value, is_available: bool| {
            json!({
                "vendor_item_id": format!("{vendor}-{item}"), "item_id": item, "updated_at": UPDATED_AT,
                "vendor_id": vendor, "price": dollars(cents), "shipping_price": shipping, "currency": "USD",
                "is_available": is_available,
            })
        };
        let shipping = record.shipping.as_number().map_or(Value::Null, |number| json!(number.to_string()));
        offers.1.push(offer("bestbuy", cents, shipping, true));
        offers.1.push(offer("sample-outlet", cents * 95 / 100, json!("4.99"), index % 3 != 0));
        if index % 4 == 0 {
            discounts.1.push(json!({
                "discount_id": format!("sample-{}", record.sku), "vendor_item_id": format!("bestbuy-{item}"),
                "updated_at": UPDATED_AT, "percent": "10",
            }));
        }
    }
    Ok(tables)
}

fn product(record: &Record) -> Value {
    let path: Vec<_> = record.category.iter().map(|category| category.name.as_str()).collect();
    json!({
        "product_id": record.sku.to_string(), "updated_at": UPDATED_AT, "name": record.name,
        "brand": record.manufacturer, "category": path.join(" > "), "description": record.description,
        "url": record.url, "image_url": record.image,
    })
}

/// `44.99` → 4499, from its text: no floating point.
fn cents(price: &serde_json::Number) -> Result<i64, Failure> {
    let text = price.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let wrong = || Failure::new(format!("bundled price {text} is not in whole cents"));
    if fraction.len() > 2 {
        return Err(wrong());
    }
    format!("{whole}{fraction:0<2}").parse().map_err(|_| wrong())
}

fn dollars(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_a_product_with_an_item_and_two_offers() {
        let [products, items, offers, discounts] = rows().unwrap();
        assert_eq!((products.1.len(), items.1.len(), offers.1.len(), discounts.1.len()), (33, 33, 66, 9));
        assert_eq!(products.1[0]["product_id"], "9984203");
        assert_eq!(offers.1[0]["price"], "44.99");
        assert_eq!(offers.1[1]["price"], "42.74", "5 % off, cut to whole cents");
    }

    #[test]
    fn money_keeps_its_cents() {
        let number = |text: &str| serde_json::from_str::<serde_json::Number>(text).unwrap();
        for (text, wanted) in [("44.99", 4499), ("7", 700), ("0.5", 50), ("2799.99", 279_999)] {
            assert_eq!(cents(&number(text)).unwrap(), wanted);
        }
        assert!(cents(&number("1.999")).is_err());
        assert_eq!(dollars(705), "7.05");
    }
}
