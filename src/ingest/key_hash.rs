//! Event keys → 128-bit hashes.
//!
//! XXH3-128 with a secret drawn at start: nobody outside can prepare two keys with one hash. Two different keys among
//! n collide with probability below n² / 2¹¹⁷ (116 of the bits are kept): 2 × 10⁻²⁰ for 50 million keys, 6 × 10⁻¹⁶ for ten billion. Hashes never
//! leave the process, so the secret need not be kept.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, GenericByteArray, GenericByteViewArray};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, ByteArrayType, ByteViewType, DataType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128_with_secret;

const SECRET_BYTES: usize = 192;

static SECRET: LazyLock<[u8; SECRET_BYTES]> = LazyLock::new(|| {
    let mut secret = [0; SECRET_BYTES];
    for chunk in secret.chunks_mut(16) {
        chunk.copy_from_slice(Uuid::new_v4().as_bytes());
    }
    secret
});

fn hash(bytes: &[u8]) -> u128 {
    xxh3_128_with_secret(bytes, &*SECRET)
}

/// One hash per row over the key's columns. Equal values hash equal in every layout of text.
///
/// # Errors
/// When a column's type has no order, which no key column has.
pub fn hash_keys(columns: &[ArrayRef]) -> Result<Vec<u128>, ArrowError> {
    match columns {
        [one] => hash_column(one),
        several => {
            let plain: Vec<ArrayRef> = several.iter().map(plain).collect::<Result<_, _>>()?;
            hash_rows(&plain)
        }
    }
}

fn hash_column(column: &ArrayRef) -> Result<Vec<u128>, ArrowError> {
    Ok(match column.data_type() {
        DataType::Utf8 => hash_bytes(column.as_string::<i32>()),
        DataType::LargeUtf8 => hash_bytes(column.as_string::<i64>()),
        DataType::Utf8View => hash_views(column.as_string_view()),
        DataType::Binary => hash_bytes(column.as_binary::<i32>()),
        DataType::BinaryView => hash_views(column.as_binary_view()),
        _ => hash_rows(&[plain(column)?])?,
    })
}

/// Text in one layout, so that the row format of equal keys is equal.
fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::LargeUtf8 | DataType::Utf8View => cast(column, &DataType::Utf8),
        DataType::Dictionary(_, value) => plain(&cast(column, value)?),
        _ => Ok(Arc::clone(column)),
    }
}

fn hash_bytes<T: ByteArrayType>(array: &GenericByteArray<T>) -> Vec<u128> {
    let bytes = array.value_data();
    let ends = array.value_offsets().windows(2);
    ends.map(|pair| match pair {
        [start, end] => hash(&bytes[start.as_usize()..end.as_usize()]),
        _ => 0,
    })
    .collect()
}

fn hash_views<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Vec<u128> {
    (0..array.len()).map(|row| hash(array.value(row).as_ref())).collect()
}

fn hash_rows(columns: &[ArrayRef]) -> Result<Vec<u128>, ArrowError> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(columns)?;
    Ok(rows.iter().map(|row| hash(row.as_ref())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray, StringViewArray};

    #[test]
    fn equal_keys_hash_equal_in_every_layout() {
        let texts = ["", "a", "a key that is longer than a view holds inline"];
        let plain: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let views: ArrayRef = Arc::new(StringViewArray::from(texts.to_vec()));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 1]));
        assert_eq!(hash_keys(std::slice::from_ref(&plain)).unwrap(), hash_keys(std::slice::from_ref(&views)).unwrap());
        let pairs = hash_keys(&[plain.clone(), numbers.clone()]).unwrap();
        assert_eq!(pairs, hash_keys(&[views, numbers.clone()]).unwrap());
        assert_eq!(hash_keys(&[plain.slice(1, 2)]).unwrap(), hash_keys(&[plain]).unwrap()[1..]);
        let numbers = hash_keys(&[numbers]).unwrap();
        assert!(numbers[0] == numbers[2] && numbers[0] != numbers[1]);
    }
}
