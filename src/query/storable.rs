//! The columns that a query's answer has as a table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::QueryError;
use crate::storage::storable_type;

/// The schema a query's rows have once they are stored: types as tables keep them, all nullable.
///
/// # Errors
/// Columns without a usable name; types a table cannot hold.
pub(super) fn storable(schema: &Schema) -> Result<SchemaRef, QueryError> {
    let invalid = |message| QueryError::Invalid { message };
    let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let name = field.name();
        if name.contains(|c: char| " ,;{}()\n\t=".contains(c)) {
            return Err(invalid(format!("column '{name}' cannot be stored under this name; give it one with AS")));
        }
        if fields.iter().any(|earlier| earlier.name().eq_ignore_ascii_case(name)) {
            return Err(invalid(format!("two columns are called '{name}'; rename one with AS")));
        }
        let data_type = match field.data_type() {
            // Counts and sums of unsigned columns; a value beyond BIGINT is an error when it is stored.
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => DataType::Int64,
            other => storable_type(other).map_err(|reason| invalid(format!("column '{name}' {reason}")))?,
        };
        fields.push(Field::new(name, data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}
