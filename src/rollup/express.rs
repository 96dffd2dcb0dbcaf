//! Expressions of base columns as expressions of stored columns.

use std::collections::BTreeSet;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;

use super::design::Design;
use super::partials::column;
use super::time::{Cut, Reach, TimeKey};

/// Expresses over the stored keys of one design.
pub(super) struct Express<'a> {
    design: &'a Design,
    schema: &'a DFSchema,
    /// Those whose column has the time type in the source too.
    pub(super) time_keys: Vec<TimeKey>,
    /// Time columns for which what was expressed holds only where `date_bin` does.
    pub(super) bound_to_domain: BTreeSet<String>,
}

impl<'a> Express<'a> {
    /// `schema` is the source's.
    pub(super) fn new(design: &'a Design, schema: &'a DFSchema) -> Self {
        let is_same = |key: &TimeKey| {
            schema.field_with_unqualified_name(&key.column).is_ok_and(|field| *field.data_type() == key.data_type)
        };
        let time_keys = design.time_keys.iter().filter(|key| is_same(key)).cloned().collect();
        Self { design, schema, time_keys, bound_to_domain: BTreeSet::new() }
    }

    /// The expression over stored columns; None when base columns remain.
    pub(super) fn express(&mut self, expr: &Expr) -> Option<Expr> {
        let mut remains = false;
        let expressed = expr.clone().transform_down(|part| {
            let done = |expr| Ok(Transformed::new(expr, true, TreeNodeRecursion::Jump));
            if let Some(index) = self.design.question.keys.iter().position(|key| *key == part) {
                return done(self.design.stored_key(index));
            }
            if matches!(part, Expr::Column(_)) {
                remains = true;
                return Ok(Transformed::new(part, false, TreeNodeRecursion::Stop));
            }
            match self.coarser(&part) {
                Some(cut) => done(cut),
                None => Ok(Transformed::no(part)),
            }
        });
        expressed.ok().filter(|_| !remains).map(|expressed| expressed.data)
    }

    /// A cut of time, made from a stored finer one.
    fn coarser(&mut self, expr: &Expr) -> Option<Expr> {
        let cut = Cut::of(expr, self.schema)?;
        let key = self.time_keys.iter().find(|key| key.column == cut.column && key.grain.divides(cut.grain))?;
        let stored = column(&self.design.keys[key.index]);
        if key.reach == Reach::Domain || cut.reach == Reach::Domain {
            self.bound_to_domain.insert(cut.column);
        }
        let replaced = expr.clone().transform_down(|part| match part {
            Expr::Column(_) => Ok(Transformed::new(stored.clone(), true, TreeNodeRecursion::Jump)),
            other => Ok(Transformed::no(other)),
        });
        replaced.ok().map(|replaced| replaced.data)
    }
}
