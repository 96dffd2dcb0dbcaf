//! `system.limits`: how much every user may ask for (`[auth.limits]`, by their roles), how many of their statements run now, and
//! the memory these hold where it is limited. NULL = there is no limit.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, numbers, texts};
use crate::auth::{Allowance, User};
use crate::base::ByteSize;
use crate::query::QueryError;
use crate::query::engine::Inner;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("user_name", DataType::Utf8),
        ("requests_per_second", DataType::Int64),
        ("concurrent_statements", DataType::Int64),
        ("run_ms", DataType::Int64),
        ("memory_bytes", DataType::Int64),
        ("result_rows", DataType::Int64),
        ("result_bytes", DataType::Int64),
        ("running", DataType::Int64),
        ("memory_bytes_held", DataType::Int64),
    ])
}

/// Users of an identity provider are not known before they come.
pub(super) fn rows(engine: &Inner) -> Result<RecordBatch, QueryError> {
    let Ok(authenticator) = engine.authenticator() else { return Ok(RecordBatch::new_empty(schema())) };
    let snapshot = authenticator.directory().snapshot();
    let limits = &authenticator.config().limits;
    let all: Vec<(&Arc<User>, Allowance)> =
        snapshot.users.values().map(|user| (user, limits.of(&user.roles))).collect();
    let allowed = |pick: fn(&Allowance) -> Option<u64>| numbers(all.iter().map(move |(_, allowance)| pick(allowance)));
    batch(
        schema(),
        vec![
            texts(all.iter().map(|(user, _)| Some(&user.name))),
            allowed(|allowance| allowance.requests_per_second),
            allowed(|allowance| allowance.concurrent_statements),
            allowed(|allowance| allowance.run_time.and_then(|span| u64::try_from(span.duration().as_millis()).ok())),
            allowed(|allowance| allowance.memory_bytes.map(ByteSize::bytes)),
            allowed(|allowance| allowance.result_rows),
            allowed(|allowance| allowance.result_bytes.map(|size| size.bytes())),
            numbers(all.iter().map(|(user, _)| Some(engine.registry.running_of(&user.name)))),
            numbers(
                all.iter().map(|(user, allowance)| allowance.memory_bytes.map(|_| engine.accounts.held_by(&user.name))),
            ),
        ],
    )
}
