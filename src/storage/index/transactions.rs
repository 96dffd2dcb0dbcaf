//! The newest version each application committed. Loads leave one entry per file content, so there can be many: a large
//! shared map and a small recent one, merged when the small one has grown, keep advancing cheap.

use std::collections::HashMap;
use std::sync::Arc;

const RECENT_MAX: usize = 256;

/// Application id → version. Cheap to clone; the versions of an id are whatever was committed last.
#[derive(Clone, Debug, Default)]
pub(super) struct Transactions {
    old: Arc<HashMap<Arc<str>, i64>>,
    recent: Arc<HashMap<Arc<str>, i64>>,
}

impl Transactions {
    pub fn get(&self, app_id: &str) -> Option<i64> {
        self.recent.get(app_id).or_else(|| self.old.get(app_id)).copied()
    }

    /// These and the later `newer`.
    pub fn with(&self, newer: HashMap<String, i64>) -> Self {
        if newer.is_empty() {
            return self.clone();
        }
        let newer = newer.into_iter().map(|(app_id, version)| (Arc::from(app_id), version));
        let mut recent = self.recent.as_ref().clone();
        recent.extend(newer);
        if recent.len() <= RECENT_MAX {
            return Self { old: self.old.clone(), recent: Arc::new(recent) };
        }
        let mut old = self.old.as_ref().clone();
        old.extend(recent);
        Self { old: Arc::new(old), recent: Arc::default() }
    }

    /// All of them, sorted.
    #[cfg(test)]
    pub fn all(&self) -> std::collections::BTreeMap<String, i64> {
        let both = self.old.iter().chain(self.recent.iter());
        both.map(|(app_id, version)| (app_id.to_string(), *version)).collect()
    }
}
