#!/usr/bin/env bash
# Loads one set of real data into a lake: load.sh talkingdata|ipinyou|coupang|flipkart|bestbuy LAKE
# Environment: ADLAKE = the binary, ADLAKE_REAL_DATA = the folder of the sets (default: ../shared/data beside the repository).
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 64; }
SET=$1 LAKE=$2
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
DATA=${ADLAKE_REAL_DATA:-$ROOT/../shared/data}
ADLAKE=${ADLAKE:-${CARGO_TARGET_DIR:-$ROOT/target}/release/adlake}
command -v "$ADLAKE" >/dev/null || { echo "no adlake binary at '$ADLAKE'; build it or set ADLAKE" >&2; exit 69; }

files() { # the folder of a set, which has to be there
  [ -d "$DATA/$1" ] || { echo "real data is missing: no folder $DATA/$1; set ADLAKE_REAL_DATA to where the sets are" >&2; exit 66; }
  echo "$DATA/$1"
}
load() { "$ADLAKE" load --lake "$LAKE" "$@"; }

# Definitions: the shipped schema and the tables of the raw files, in one project.
PROJECT=$(mktemp -d)
trap 'rm -rf "$PROJECT"' EXIT
cp -r "$ROOT/sql/." "$PROJECT/"
cp "$HERE"/sql/tables/*.sql "$PROJECT/tables/"
"$ADLAKE" apply --lake "$LAKE" --sql "$PROJECT"

case $SET in
talkingdata)
  load talkingdata_clicks "$(files talkingdata_clicks)"/*.csv.gz
  ;;
ipinyou)
  dir=$(files ipinyou_rtb_logs)
  columns=(bidid log_time log_type ipinyou_id user_agent ip region city ad_exchange domain url url_id slot_id slot_width slot_height
    slot_visibility slot_format slot_price creative bid_price pay_price key_page advertiser user_tags)
  map=()
  for index in "${!columns[@]}"; do map+=(--map "column_$((index + 1))=${columns[index]}"); done
  log() { load "$1" "${@:2}" --no-header "${map[@]}" --time-format '%Y%m%d%H%M%S%3f@+08:00'; }
  log ipinyou_impressions "$dir"/imp_*.tsv.gz
  log ipinyou_clicks "$dir"/clk.*.tsv.gz
  # One line of the conversions of 06-06 lacks a field: it is rejected, the rest is taken. Exit code 3 says so.
  log ipinyou_conversions "$dir"/conv.*.tsv.gz --max-rejects 1 || [ $? -eq 3 ]
  ;;
coupang)
  load coupang_best "$(files coupang_best_products)"/*.csv.gz
  ;;
flipkart)
  load flipkart_products "$(files flipkart_products)"/*.csv.gz
  ;;
bestbuy)
  products=$ROOT/data/bestbuy/products_33.ndjson
  load products "$products" --map sku=product_id,manufacturer=brand,image=image_url,category= --map '*='
  load items "$products" --map sku=item_id,sku=product_id --map '*='
  load vendor_items "$products" --map sku=vendor_item_id,sku=item_id,shipping= --map '*='
  ;;
*)
  echo "unknown set '$SET'; there are talkingdata, ipinyou, coupang, flipkart, bestbuy" >&2
  exit 64
  ;;
esac

[ ! -f "$HERE/transform/$SET.sql" ] || "$ADLAKE" sql --lake "$LAKE" -f "$HERE/transform/$SET.sql"
