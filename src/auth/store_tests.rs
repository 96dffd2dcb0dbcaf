//! The directory over a real lake in a temporary folder; two `Directory`s stand for two processes.

use super::*;
use crate::auth::Policy;
use crate::auth::edit::tests::user;
use crate::storage::{test_config, test_lake};

pub(in crate::auth) struct Fixture {
    pub lake: Lake,
    dir: tempfile::TempDir,
}

impl Fixture {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lake = test_lake(&dir, &test_config(), Clock::manual(Timestamp(0))).await;
        Self { lake, dir }
    }

    pub async fn directory(&self, clock: &Clock) -> Arc<Directory> {
        Directory::open(&self.lake, clock.clone()).await.unwrap()
    }
}

#[tokio::test]
async fn another_process_sees_changes_and_both_can_make_them() {
    let (fixture, clock) = (Fixture::new().await, Clock::manual(Timestamp(5)));
    let (one, two) = (fixture.directory(&clock).await, fixture.directory(&clock).await);
    one.edit(|_| Ok(vec![Edit::CreateUser(user("ann", &[]))])).await.unwrap();
    assert!(two.snapshot().users.is_empty());
    assert_eq!(two.refresh().await.unwrap().users.len(), 1);
    one.edit(|_| Ok(vec![Edit::CreateUser(user("bob", &[]))])).await.unwrap();
    let both = two.edit(|_| Ok(vec![Edit::CreateUser(user("eve", &[]))])).await.unwrap();
    assert_eq!(both.users.keys().cloned().collect::<Vec<_>>(), ["ann", "bob", "eve"]);
    assert_eq!(both.mask_key, one.refresh().await.unwrap().mask_key, "made once");
    assert_ne!(both.mask_key, [0; 32]);
}

#[tokio::test]
async fn rights_change_with_what_decides_and_with_nothing_else() {
    let (fixture, clock) = (Fixture::new().await, Clock::manual(Timestamp(5)));
    let directory = fixture.directory(&clock).await;
    let token = directory.ensure_admin().await.unwrap().unwrap();
    let rights = async |edit: Edit| {
        let edited = directory.edit(|_| Ok(vec![edit.clone()])).await.unwrap();
        let read = fixture.directory(&clock).await.snapshot();
        assert_eq!((read.version, read.rights), (edited.version, edited.rights), "put and read alike");
        read.rights
    };
    let first = rights(Edit::CreateUser(user("ann", &[]))).await;
    assert_eq!(rights(Edit::NoteUses([(token.id.clone(), Timestamp(6))].into())).await, first);
    let with_role = rights(Edit::CreateRole("partner".into())).await;
    assert_ne!(with_role, first);
    let policy = Policy { relation: "t".into(), name: "own".into(), role: "partner".into(), predicate: "a = 1".into() };
    assert_ne!(rights(Edit::CreatePolicy(policy)).await, with_role);
    assert_eq!(rights(Edit::DropPolicy { relation: "t".into(), name: "own".into() }).await, with_role);
}

#[tokio::test]
async fn the_first_start_makes_one_admin() {
    let (fixture, clock) = (Fixture::new().await, Clock::manual(Timestamp(5)));
    let (one, two) = (fixture.directory(&clock).await, fixture.directory(&clock).await);
    let (first, second) = tokio::join!(one.ensure_admin(), two.ensure_admin());
    let tokens: Vec<NewToken> = [first.unwrap(), second.unwrap()].into_iter().flatten().collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(one.refresh().await.unwrap().tokens.len(), 1);
    assert!(one.ensure_admin().await.unwrap().is_none());
}

#[tokio::test]
async fn a_document_that_is_not_understood_is_never_no_users() {
    let (fixture, clock) = (Fixture::new().await, Clock::manual(Timestamp(5)));
    let directory = fixture.directory(&clock).await;
    directory.edit(|_| Ok(vec![Edit::CreateUser(user("ann", &[]))])).await.unwrap();
    let file = fixture.dir.path().join("documents/auth/00000000000000000001.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file.with_file_name("00000000000000000002.json"), text.replace("\"policies\"", "\"rules\""))
        .unwrap();
    let failed = directory.refresh().await.unwrap_err();
    assert!(matches!(failed, AuthError::Damaged { .. }), "{failed}");
    assert_eq!(directory.snapshot().users.len(), 1, "the last one that could be read");
    assert!(Directory::open(&fixture.lake, clock.clone()).await.is_err());
}
