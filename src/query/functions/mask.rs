//! `adlake_mask(text)`: a keyed hash in the place of a masked value. Only plans of `protect` call it, each with the lake's key.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

pub(in crate::query) const MASK_HASH: &str = "adlake_mask";

/// Bytes of the hash that are shown, as hex.
const SHOWN_BYTES: usize = 16;

/// The function with this key.
pub(in crate::query) fn mask_hash(key: [u8; 32]) -> ScalarUDF {
    ScalarUDF::from(MaskHash { key: Key(key), signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(PartialEq, Eq, Hash)]
struct Key([u8; 32]);

/// Plans are printed.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MaskHash {
    key: Key,
    signature: Signature,
}

impl MaskHash {
    fn of(&self, text: &str) -> String {
        let hash = blake3::keyed_hash(&self.key.0, text.as_bytes());
        hash.as_bytes().iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl ScalarUDFImpl for MaskHash {
    fn name(&self) -> &str {
        MASK_HASH
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Text of the same layout.
    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [text @ (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)] => Ok(text.clone()),
            _ => plan_err!("a mask hash(column) is on a column that is no text (any more); set another mask"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ScalarFunctionArgs { args, number_rows, return_field, .. } = args;
        let [values] = args.as_slice() else { return plan_err!("{MASK_HASH} takes one argument") };
        let texts = cast(&values.to_array(number_rows)?, &DataType::Utf8)?;
        let hashed: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(|text| self.of(text))).collect();
        let hashed: ArrayRef = Arc::new(hashed);
        Ok(ColumnarValue::Array(cast(&hashed, return_field.data_type())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_stay_equal_and_another_lake_gives_other_hashes() {
        let with = |key| MaskHash { key: Key([key; 32]), signature: Signature::any(1, Volatility::Immutable) };
        assert_eq!(with(1).of("10.0.0.1"), with(1).of("10.0.0.1"));
        assert_ne!(with(1).of("10.0.0.1"), with(1).of("10.0.0.2"));
        assert_ne!(with(1).of("10.0.0.1"), with(2).of("10.0.0.1"));
        assert!(!format!("{:?}", with(7)).contains("7, 7"));
    }
}
