//! A short name for the shape of a plan: its operators and the columns between them, without values, names of files and numbers
//! of partitions. The same statement with other values has the same; one that is answered otherwise, such as from a
//! materialized view, or joined in another order, has another.

use std::fmt::Write;

use datafusion::physical_plan::ExecutionPlan;
use xxhash_rust::xxh3::xxh3_64;

/// Sixteen hexadecimal digits.
pub(super) fn plan_digest(plan: &dyn ExecutionPlan) -> String {
    let mut shape = String::new();
    describe(plan, &mut shape);
    format!("{:016x}", xxh3_64(shape.as_bytes()))
}

fn describe(plan: &dyn ExecutionPlan, shape: &mut String) {
    shape.push_str(plan.name());
    for field in plan.schema().fields() {
        // Writing to a String does not fail.
        let _ = write!(shape, " {}:{}", field.name(), field.data_type());
    }
    shape.push('(');
    plan.children().into_iter().for_each(|child| describe(child.as_ref(), shape));
    shape.push(')');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    #[test]
    fn operators_and_columns_make_the_difference() {
        let plan = |column: &str| -> Arc<dyn ExecutionPlan> {
            Arc::new(EmptyExec::new(Arc::new(Schema::new(vec![Field::new(column, DataType::Int64, true)]))))
        };
        let digest = |plan: Arc<dyn ExecutionPlan>| plan_digest(plan.as_ref());
        assert_eq!(digest(plan("a")), digest(plan("a")));
        assert_eq!(digest(plan("a")).len(), 16);
        assert_ne!(digest(plan("a")), digest(plan("b")));
        assert_ne!(digest(plan("a")), digest(Arc::new(CoalescePartitionsExec::new(plan("a")))));
    }
}
