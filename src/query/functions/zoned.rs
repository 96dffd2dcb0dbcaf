//! `to_timestamp(text)` and its kin over columns: a time in the zone that they say they answer in.
//!
//! DataFusion's give a column of texts as times without a zone where they have promised UTC, and the statement fails. The zone is
//! UTC always, so both are the same moments.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// One of DataFusion's functions whose answers are given the zone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Zoned {
    inner: Arc<ScalarUDF>,
}

/// The function with its answers in their zone; `None` for one whose are.
pub(super) fn zoned(function: Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    match function.name() {
        "to_timestamp"
        | "to_timestamp_seconds"
        | "to_timestamp_millis"
        | "to_timestamp_micros"
        | "to_timestamp_nanos" => Some(Arc::new(ScalarUDF::from(Zoned { inner: function }))),
        _ => None,
    }
}

impl ScalarUDFImpl for Zoned {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    /// The zone is that of the session.
    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = self.inner.inner().with_updated_config(config)?;
        Some(ScalarUDF::from(Self { inner: Arc::new(inner) }))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let promised = args.return_field.data_type().clone();
        // Around the check of debug builds, which this mends the answer for.
        let answer = self.inner.inner().invoke_with_args(args)?;
        match answer.data_type() == promised {
            true => Ok(answer),
            false => answer.cast_to(&promised, None),
        }
    }
}
