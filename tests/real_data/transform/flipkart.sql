-- Flipkart's products in the shipped schema: one product is one item with one offer; the discount is list less selling price.
INSERT INTO products (product_id, name, brand, category)
SELECT pid, product_name, brand, product_category_tree FROM flipkart_products;

INSERT INTO items (item_id, product_id)
SELECT pid AS item_id, pid AS product_id FROM flipkart_products;

INSERT INTO vendor_items (vendor_item_id, item_id, price, currency)
SELECT pid AS vendor_item_id, pid AS item_id, retail_price, 'INR' FROM flipkart_products WHERE retail_price IS NOT NULL;

INSERT INTO discounts (discount_id, vendor_item_id, amount)
SELECT pid AS discount_id, pid AS vendor_item_id, retail_price - discounted_price FROM flipkart_products WHERE discounted_price < retail_price;
