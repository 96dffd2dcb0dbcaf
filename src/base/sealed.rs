//! A shared value whose being `Send` and `Sync` was proved once, where it was sealed.
//!
//! The compiler proves both again for every future that holds a value, and looks through the whole type each time. For a
//! session state or a plan, whose types go round through all of DataFusion's expressions, that took seconds per function.
//! Behind a trait object that says so there is nothing to look through.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Cheap to clone; clones share the value.
pub struct Sealed<T: 'static>(Arc<dyn Deref<Target = T> + Send + Sync>);

impl<T: Send + Sync> Sealed<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(Box::new(value)))
    }
}

impl<T> Deref for Sealed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.deref().deref()
    }
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
