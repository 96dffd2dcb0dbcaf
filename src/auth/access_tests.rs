//! Permissions over small directories.

use super::*;
use crate::auth::edit::tests::{after, select, user};
use crate::auth::password::tests::hashed;
use crate::auth::{Edit, Mask, Token, UserChange};

const NOW: Timestamp = Timestamp(100);

fn role(name: &str) -> Grantee {
    Grantee::Role(name.to_owned())
}

fn as_user(snapshot: &DirectorySnapshot, name: &str) -> Access {
    Access::new(Arc::new(snapshot.clone()), &Identity::of_user(name), NOW).unwrap()
}

fn with_token(snapshot: &DirectorySnapshot, name: &str, scope: Scope) -> Access {
    let token = Token {
        id: "1".into(),
        user: name.into(),
        hash: String::new(),
        scope,
        created_at: Timestamp(1),
        expires_at: Timestamp(200),
        last_used_at: None,
    };
    let snapshot = snapshot.edited(Edit::CreateToken(token)).unwrap();
    let identity = Identity { token: Some("1".into()), ..Identity::of_user(name) };
    assert!(Access::new(Arc::new(snapshot.clone()), &identity, Timestamp(200)).is_err(), "expired");
    Access::new(Arc::new(snapshot), &identity, NOW).unwrap()
}

fn people() -> DirectorySnapshot {
    let users = ["reader", "analyst", "engineer", "ingest", "admin"].map(|name| Edit::CreateUser(user(name, &[name])));
    let mut edits: Vec<Edit> = users.into();
    edits.push(Edit::CreateRole("partner".into()));
    edits.push(Edit::CreateUser(user("pat", &["partner"])));
    after(edits)
}

#[test]
fn built_in_roles_do_what_their_table_says() {
    let people = people();
    for (name, reads, calls, inserts, defines, administers) in [
        ("reader", false, false, false, false, false),
        ("analyst", true, true, false, false, false),
        ("engineer", true, true, true, true, false),
        ("ingest", false, false, true, false, false),
        ("admin", true, true, true, true, true),
        ("pat", false, false, false, false, false),
    ] {
        let access = as_user(&people, name);
        let found = (
            access.reading("t") == Reading::All,
            access.may_call("e"),
            access.may_insert("t"),
            access.is_engineer(),
            access.may_administer(),
        );
        assert_eq!(found, (reads, calls, inserts, defines, administers), "{name}");
    }
}

#[test]
fn grants_of_columns_add_up_and_one_of_all_is_all() {
    let people = people();
    let some = people.edited(Edit::Grant(select(role("partner"), "t", Some(&["a"])))).unwrap();
    let some = some.edited(Edit::Grant(select(Grantee::User("pat".into()), "t", Some(&["b"])))).unwrap();
    let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(as_user(&some, "pat").reading("t"), Reading::Columns(both));
    assert_eq!(as_user(&some, "pat").reading("u"), Reading::Nothing);
    assert!(!as_user(&some, "pat").may_see("u") && as_user(&some, "pat").may_see("t"));
    let all = some.edited(Edit::Grant(select(role("partner"), "t", None))).unwrap();
    assert_eq!(as_user(&all, "pat").reading("t"), Reading::All);
    let schema = Grant { to: role("partner"), privilege: Privilege::Select, on: Subject::Schema, columns: None };
    let schema = people.edited(Edit::Grant(schema)).unwrap();
    assert_eq!(as_user(&schema, "pat").reading("u"), Reading::All);
    assert!(!as_user(&schema, "pat").may_call("e"));
}

#[test]
fn a_table_with_a_policy_shows_nothing_to_whom_no_policy_names() {
    let policy = |name: &str, role: &str| {
        Edit::CreatePolicy(Policy {
            relation: "t".into(),
            name: name.into(),
            role: role.into(),
            predicate: name.into(),
        })
    };
    let people = people().edited(policy("p", "partner")).unwrap().edited(policy("q", "partner")).unwrap();
    let Rows::Where(policies) = as_user(&people, "pat").rows("t") else { panic!("a policy holds") };
    assert_eq!(policies.len(), 2);
    assert_eq!(as_user(&people, "analyst").rows("t"), Rows::Where(Vec::new()));
    assert_eq!(as_user(&people, "engineer").rows("t"), Rows::Where(Vec::new()));
    assert_eq!(as_user(&people, "admin").rows("t"), Rows::All);
    assert_eq!(as_user(&people, "analyst").rows("u"), Rows::All);
    assert!(as_user(&people, "pat").is_restricted("t") && !as_user(&people, "pat").is_restricted("u"));
}

#[test]
fn a_mask_holds_for_all_but_the_excepted() {
    let except = BTreeSet::from(["analyst".to_owned()]);
    let mask = Mask { relation: "t".into(), column: "ip".into(), rule: MaskRule::Hash, except };
    let people = people().edited(Edit::SetMask(mask)).unwrap();
    assert_eq!(as_user(&people, "engineer").masks("t"), [("ip", MaskRule::Hash)]);
    assert!(as_user(&people, "analyst").masks("t").is_empty());
    assert!(as_user(&people, "admin").masks("t").is_empty());
}

#[test]
fn a_token_only_takes_away() {
    let people = people();
    let roles = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    let read = with_token(&people, "admin", Scope { usage: ScopeUse::Read, ..Scope::default() });
    assert!(read.reading("t") == Reading::All && !read.may_insert("t"));
    assert!(!read.is_engineer() && !read.may_administer() && !read.may_make_tokens());
    let rows_in = with_token(&people, "admin", Scope { usage: ScopeUse::Ingest, ..Scope::default() });
    assert!(rows_in.may_insert("t") && rows_in.reading("t") == Reading::Nothing && !rows_in.may_call("e"));
    let one = with_token(&people, "admin", Scope { objects: roles(&["t"]), ..Scope::default() });
    assert!(one.reading("t") == Reading::All && one.reading("u") == Reading::Nothing && !one.is_engineer());
    let none = with_token(&people, "admin", Scope { roles: roles(&[]), ..Scope::default() });
    assert!(!none.is_admin() && none.reading("t") == Reading::Nothing && !none.may_make_tokens());
}

#[test]
fn who_may_the_same_has_the_same_fingerprint() {
    let people = people().edited(Edit::Grant(select(Grantee::User("pat".into()), "t", None))).unwrap();
    let whole = as_user(&people, "pat").fingerprint();
    assert_eq!(with_token(&people, "pat", Scope::default()).fingerprint(), whole, "however it was proved");
    let roles = Scope { roles: Some(["partner".to_owned()].into()), ..Scope::default() };
    assert_ne!(with_token(&people, "pat", roles).fingerprint(), whole, "without grants of the user");
    assert_ne!(with_token(&people, "pat", Scope { usage: ScopeUse::Read, ..Scope::default() }).fingerprint(), whole);
    assert_ne!(as_user(&people, "reader").fingerprint(), whole);
    let external =
        External { roles: ["partner".to_owned()].into(), attributes: BTreeMap::new(), expires_at: Timestamp(200) };
    let external = Identity { external: Some(Arc::new(external)), ..Identity::of_user("pat") };
    assert_ne!(Access::new(Arc::new(people), &external, NOW).unwrap().fingerprint(), whole);
}

#[test]
fn a_dropped_or_disabled_user_has_no_access() {
    let gone = people().edited(Edit::DropUser("pat".into())).unwrap();
    assert!(Access::new(Arc::new(gone), &Identity::of_user("pat"), NOW).is_err());
    let stolen = Identity { token: Some("9".into()), ..Identity::of_user("pat") };
    assert!(Access::new(Arc::new(people()), &stolen, NOW).is_err());
}

#[test]
fn who_came_by_a_password_has_access_while_it_is_that_one() {
    let (one, two) = (hashed("correct horse").unwrap(), hashed("correct horse").unwrap());
    let change = |password| UserChange { password: Some(password), ..UserChange::default() };
    let with = |password| people().edited(Edit::AlterUser { name: "pat".into(), change: change(password) }).unwrap();
    let identity = Identity { password: Some(one.salt().to_owned()), ..Identity::of_user("pat") };
    let may = |snapshot: DirectorySnapshot, identity: &Identity| Access::new(Arc::new(snapshot), identity, NOW).is_ok();
    assert!(may(with(one.clone()), &identity));
    assert!(!may(with(two), &identity), "set again, though the same");
    assert!(!may(people(), &identity), "the user of now has none");
    assert!(!may(with(one), &Identity::of_user("pat")), "none was proved");
}

#[test]
fn a_user_of_an_identity_provider_is_not_ours_of_that_name() {
    let people = people().edited(Edit::Grant(select(Grantee::User("pat".into()), "t", None))).unwrap();
    let external = |roles: &[&str]| {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let external = External { roles, attributes: BTreeMap::new(), expires_at: Timestamp(200) };
        Identity { external: Some(Arc::new(external)), ..Identity::of_user("pat") }
    };
    let of = |roles: &[&str], now| Access::new(Arc::new(people.clone()), &external(roles), now);
    assert_eq!(as_user(&people, "pat").reading("t"), Reading::All);
    assert_eq!(of(&["partner", "nowhere"], NOW).unwrap().reading("t"), Reading::Nothing);
    assert_eq!(of(&["analyst"], NOW).unwrap().reading("t"), Reading::All);
    assert!(!of(&["admin"], NOW).unwrap().may_make_tokens());
    assert!(of(&["analyst"], Timestamp(200)).is_err(), "expired");
}
