//! Is "create if absent" atomic? Every commit rests on it: of many writers of one name, exactly one may win.

use std::sync::Arc;

use futures::future::join_all;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::Check;
use crate::base::chain;

/// Names written to.
const ROUNDS: usize = 20;
/// Writers of each name, all at once.
const WRITERS: usize = 16;

const NAME: &str = "create if absent";

pub(super) async fn check(store: &Arc<dyn ObjectStore>, probe: &Path) -> Check {
    let fix = "use a store with atomic conditional writes (If-None-Match: *): here two processes could both believe that \
               they committed";
    let mut unclear = 0;
    for round in 0..ROUNDS {
        let path = probe.clone().join("create").join(format!("{round}"));
        match race(store, &path).await {
            Ok(Race::OneWon) => {}
            Ok(Race::NobodyKnows) => unclear += 1,
            Ok(Race::Broken(detail)) => {
                return Check::fail(NAME, format!("{detail} (round {} of {ROUNDS})", round + 1), fix);
            }
            Err(error) => return Check::fail(NAME, chain(&error), fix),
        }
    }
    let detail = format!("{ROUNDS} times, one of {WRITERS} concurrent writers won and its content stayed");
    match unclear {
        0 => Check::ok(NAME, detail),
        _ => Check::warn(
            NAME,
            format!("{detail}; {unclear} winners were told nothing"),
            "the network loses answers; look at it",
        ),
    }
}

enum Race {
    OneWon,
    /// The content is one writer's, but its answer was lost on the way.
    NobodyKnows,
    Broken(String),
}

async fn race(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Race, Error> {
    let put = |writer: usize| async move {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(path, content(writer).into(), options).await
    };
    let results = join_all((0..WRITERS).map(put)).await;
    let winners: Vec<usize> = (0..WRITERS).filter(|writer| results[*writer].is_ok()).collect();
    let refused = |error: &Error| matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. });
    let odd = results.into_iter().filter_map(Result::err).find(|error| !refused(error));
    match (winners.as_slice(), odd) {
        ([winner], _) => {
            let stored = store.get(path).await?.bytes().await?;
            Ok(match stored == content(*winner) {
                true => Race::OneWon,
                false => Race::Broken("the winner's content was overwritten by a loser's".to_owned()),
            })
        }
        ([], Some(error)) => Err(error),
        ([], None) => match store.get(path).await {
            Ok(_) => Ok(Race::NobodyKnows),
            Err(Error::NotFound { .. }) => Ok(Race::Broken("every writer was refused and nothing is there".to_owned())),
            Err(error) => Err(error),
        },
        (several, _) => Ok(Race::Broken(format!("{} of {WRITERS} writers were told that they won", several.len()))),
    }
}

fn content(writer: usize) -> String {
    format!("writer {writer}")
}
