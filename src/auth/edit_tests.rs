//! Changes of the directory, one after another over a small one.

use super::*;
use crate::auth::{ADMIN, MaskRule, Privilege, Scope, Subject};

pub(in crate::auth) fn user(name: &str, roles: &[&str]) -> User {
    User {
        name: name.to_owned(),
        password: None,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        attributes: BTreeMap::new(),
        disabled: false,
        created_at: Timestamp(1),
    }
}

pub(in crate::auth) fn select(to: Grantee, relation: &str, columns: Option<&[&str]>) -> Grant {
    let columns = columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    Grant { to, privilege: Privilege::Select, on: Subject::Relation(relation.to_owned()), columns }
}

pub(in crate::auth) fn after(edits: Vec<Edit>) -> DirectorySnapshot {
    edits.into_iter().fold(DirectorySnapshot::default(), |snapshot, edit| snapshot.edited(edit).unwrap())
}

fn refused(snapshot: &DirectorySnapshot, edit: Edit) -> String {
    snapshot.edited(edit).unwrap_err().to_string()
}

fn role(name: &str) -> Grantee {
    Grantee::Role(name.to_owned())
}

#[test]
fn the_last_admin_stays() {
    let one = after(vec![Edit::CreateUser(user("root", &[ADMIN]))]);
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    for edit in [
        Edit::DropUser("root".into()),
        Edit::RevokeRole { role: ADMIN.into(), user: "root".into() },
        Edit::AlterUser { name: "root".into(), change: disable },
    ] {
        assert!(refused(&one, edit).contains("no user with role admin"));
    }
    let two = one.edited(Edit::CreateUser(user("ann", &[ADMIN]))).unwrap();
    assert!(two.edited(Edit::DropUser("root".into())).is_ok());
}

#[test]
fn what_is_named_must_exist() {
    let known = after(vec![Edit::CreateUser(user("ann", &[])), Edit::CreateRole("partner".into())]);
    for (edit, says) in [
        (Edit::CreateUser(user("ann", &[])), "user 'ann' exists already"),
        (Edit::CreateUser(user("a b", &[])), "cannot be the name of a user"),
        (Edit::CreateUser(user("bob", &["partnr"])), "role 'partnr' not found; did you mean 'partner'?"),
        (Edit::CreateRole("admin".into()), "role 'admin' exists already"),
        (Edit::DropRole("admin".into()), "built in"),
        (Edit::GrantRole { role: "reader".into(), user: "an".into() }, "user 'an' not found; did you mean 'ann'?"),
        (Edit::Grant(select(role("x"), "t", None)), "role 'x' not found"),
        (Edit::Revoke(select(role("partner"), "t", None)), "no such grant"),
        (Edit::DropToken("x".into()), "token 'x' not found"),
        (Edit::DropPolicy { relation: "t".into(), name: "p".into() }, "policy 'p' not found"),
    ] {
        let message = refused(&known, edit);
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn a_dropped_user_leaves_nothing_behind() {
    let token = Token {
        id: "1".into(),
        user: "ann".into(),
        hash: String::new(),
        scope: Scope::default(),
        created_at: Timestamp(1),
        expires_at: Timestamp(2),
        last_used_at: None,
    };
    let known = after(vec![
        Edit::CreateUser(user("ann", &[])),
        Edit::CreateToken(token),
        Edit::Grant(select(Grantee::User("ann".into()), "t", None)),
        Edit::DropUser("ann".into()),
    ]);
    assert!(known.tokens.is_empty() && known.grants.is_empty());
}

#[test]
fn a_role_that_a_policy_names_stays() {
    let policy = Policy { relation: "t".into(), name: "p".into(), role: "partner".into(), predicate: "true".into() };
    let mask = Mask {
        relation: "t".into(),
        column: "ip".into(),
        rule: MaskRule::Hash,
        except: BTreeSet::from(["partner".to_owned()]),
    };
    let known = after(vec![
        Edit::CreateRole("partner".into()),
        Edit::CreateUser(user("ann", &["partner"])),
        Edit::CreatePolicy(policy),
        Edit::SetMask(mask),
    ]);
    assert!(refused(&known, Edit::DropRole("partner".into())).contains("policy 'p' on 't'"));
    let free = known.edited(Edit::DropPolicy { relation: "t".into(), name: "p".into() }).unwrap();
    let free = free.edited(Edit::DropRole("partner".into())).unwrap();
    assert!(free.users["ann"].roles.is_empty());
    assert!(free.masks.iter().all(|mask| mask.except.is_empty()));
}

#[test]
fn revoking_all_columns_takes_every_grant_of_the_kind() {
    let known = after(vec![
        Edit::CreateRole("partner".into()),
        Edit::Grant(select(role("partner"), "t", Some(&["a"]))),
        Edit::Grant(select(role("partner"), "t", Some(&["b"]))),
        Edit::Grant(select(role("partner"), "u", None)),
    ]);
    assert_eq!(known.edited(Edit::Revoke(select(role("partner"), "t", Some(&["a"])))).unwrap().grants.len(), 2);
    assert_eq!(known.edited(Edit::Revoke(select(role("partner"), "t", None))).unwrap().grants.len(), 1);
}
