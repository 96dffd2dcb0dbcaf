//! `system.users`, `roles`, `tokens`, `grants`, `policies`, `masks`: the directory as tables. Hashes and secrets are in none.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, flags, moment, moments, texts};
use crate::auth::{BUILT_IN_ROLES, DirectorySnapshot, Grantee, MaskRule, ScopeUse, Subject};
use crate::query::QueryError;
use crate::query::engine::Inner;

const TEXT: DataType = DataType::Utf8;

fn snapshot(engine: &Inner) -> Arc<DirectorySnapshot> {
    engine.authenticator().map(|authenticator| authenticator.directory().snapshot()).unwrap_or_default()
}

fn joined<'t>(names: impl IntoIterator<Item = &'t String>) -> String {
    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

pub(super) fn users_schema() -> SchemaRef {
    super::rows::schema(&[
        ("name", TEXT),
        ("roles", TEXT),
        ("attributes", TEXT),
        ("has_password", DataType::Boolean),
        ("disabled", DataType::Boolean),
        ("created_at", moment()),
    ])
}

pub(super) fn users(engine: &Inner) -> Result<RecordBatch, QueryError> {
    let snapshot = snapshot(engine);
    let all = || snapshot.users.values();
    let attributes = all().map(|user| {
        let pairs: Vec<String> = user.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Some(pairs.join(", "))
    });
    let columns = vec![
        texts(all().map(|user| Some(&user.name))),
        texts(all().map(|user| Some(joined(&user.roles)))),
        texts(attributes),
        flags(all().map(|user| Some(user.password.is_some()))),
        flags(all().map(|user| Some(user.disabled))),
        moments(all().map(|user| Some(user.created_at))),
    ];
    batch(users_schema(), columns)
}

pub(super) fn roles_schema() -> SchemaRef {
    super::rows::schema(&[("name", TEXT), ("built_in", DataType::Boolean)])
}

pub(super) fn roles(engine: &Inner) -> Result<RecordBatch, QueryError> {
    let snapshot = snapshot(engine);
    let own = snapshot.roles.iter().map(|role| (role.as_str(), false));
    let all: Vec<(&str, bool)> = BUILT_IN_ROLES.map(|role| (role, true)).into_iter().chain(own).collect();
    let columns = vec![texts(all.iter().map(|(name, _)| Some(name))), flags(all.iter().map(|(_, own)| Some(*own)))];
    batch(roles_schema(), columns)
}

pub(super) fn tokens_schema() -> SchemaRef {
    super::rows::schema(&[
        ("id", TEXT),
        ("user_name", TEXT),
        ("scope", TEXT),
        ("roles", TEXT),
        ("objects", TEXT),
        ("created_at", moment()),
        ("expires_at", moment()),
        ("last_used_at", moment()),
    ])
}

pub(super) fn tokens(engine: &Inner) -> Result<RecordBatch, QueryError> {
    let snapshot = snapshot(engine);
    let all = || snapshot.tokens.values();
    let usage = |usage: ScopeUse| match usage {
        ScopeUse::Everything => "everything",
        ScopeUse::Read => "read",
        ScopeUse::Ingest => "ingest",
    };
    let columns = vec![
        texts(all().map(|token| Some(&token.id))),
        texts(all().map(|token| Some(&token.user))),
        texts(all().map(|token| Some(usage(token.scope.usage)))),
        texts(all().map(|token| token.scope.roles.as_ref().map(joined))),
        texts(all().map(|token| token.scope.objects.as_ref().map(joined))),
        moments(all().map(|token| Some(token.created_at))),
        moments(all().map(|token| Some(token.expires_at))),
        moments(all().map(|token| token.last_used_at)),
    ];
    batch(tokens_schema(), columns)
}

pub(super) fn grants_schema() -> SchemaRef {
    super::rows::schema(&[
        ("grantee_kind", TEXT),
        ("grantee", TEXT),
        ("privilege", TEXT),
        ("object_kind", TEXT),
        ("object", TEXT),
        ("columns", TEXT),
    ])
}

pub(super) fn grants(engine: &Inner) -> Result<RecordBatch, QueryError> {
    let snapshot = snapshot(engine);
    let all = || snapshot.grants.iter();
    let grantee = |to: &Grantee| match to {
        Grantee::Role(name) => ("role", name.clone()),
        Grantee::User(name) => ("user", name.clone()),
    };
    let subject = |on: &Subject| match on {
        Subject::Relation(name) => ("relation", Some(name.clone())),
        Subject::Endpoint(name) => ("endpoint", Some(name.clone())),
        Subject::Schema => ("schema", Some("public".to_owned())),
        Subject::All => ("all", None),
    };
    let columns = vec![
        texts(all().map(|grant| Some(grantee(&grant.to).0))),
        texts(all().map(|grant| Some(grantee(&grant.to).1))),
        texts(all().map(|grant| Some(grant.privilege.as_str()))),
        texts(all().map(|grant| Some(subject(&grant.on).0))),
        texts(all().map(|grant| subject(&grant.on).1)),
        texts(all().map(|grant| grant.columns.as_ref().map(joined))),
    ];
    batch(grants_schema(), columns)
}

pub(super) fn policies_schema() -> SchemaRef {
    super::rows::schema(&[("relation", TEXT), ("name", TEXT), ("role", TEXT), ("predicate", TEXT)])
}

pub(super) fn policies(engine: &Inner) -> Result<RecordBatch, QueryError> {
    let snapshot = snapshot(engine);
    let all = || snapshot.policies.iter();
    let columns = vec![
        texts(all().map(|policy| Some(&policy.relation))),
        texts(all().map(|policy| Some(&policy.name))),
        texts(all().map(|policy| Some(&policy.role))),
        texts(all().map(|policy| Some(&policy.predicate))),
    ];
    batch(policies_schema(), columns)
}

pub(super) fn masks_schema() -> SchemaRef {
    super::rows::schema(&[("relation", TEXT), ("column", TEXT), ("mask", TEXT), ("except_roles", TEXT)])
}

pub(super) fn masks(engine: &Inner) -> Result<RecordBatch, QueryError> {
    let snapshot = snapshot(engine);
    let all = || snapshot.masks.iter();
    let rule = |rule: MaskRule| match rule {
        MaskRule::Null => "NULL",
        MaskRule::Hash => "hash",
    };
    let columns = vec![
        texts(all().map(|mask| Some(&mask.relation))),
        texts(all().map(|mask| Some(&mask.column))),
        texts(all().map(|mask| Some(rule(mask.rule)))),
        texts(all().map(|mask| Some(joined(&mask.except)))),
    ];
    batch(masks_schema(), columns)
}
