//! What a connection keeps from message to message, its prepared statements and portals: counted in bytes, together no more than
//! one message may have.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::complaint::Complaint;

/// Room for what one connection keeps.
pub(super) struct Kept {
    /// One permit for each byte.
    room: Arc<Semaphore>,
    bytes_max: usize,
}

impl Kept {
    pub fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { room: Arc::new(Semaphore::new(bytes_max)), bytes_max }
    }

    /// Takes room, which is given back with what it is for.
    ///
    /// # Errors
    /// There is not as much.
    pub fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Complaint> {
        let taken = u32::try_from(bytes).ok().and_then(|bytes| self.room.clone().try_acquire_many_owned(bytes).ok());
        taken.ok_or_else(|| {
            let most = self.bytes_max;
            let message = format!(
                "the prepared statements and portals of this connection would keep more than {most} bytes \
                 (pgwire.max_message_size); close some"
            );
            Complaint::new("53200", message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back() {
        let kept = Kept::new(100);
        let (one, two) = (kept.take(60).unwrap(), kept.take(40).unwrap());
        assert!(kept.take(0).is_ok());
        assert_eq!(kept.take(1).unwrap_err().sqlstate, "53200");
        drop(two);
        assert!(kept.take(40).is_ok());
        drop(one);
        assert!(kept.take(100).is_ok());
        assert!(kept.take(usize::MAX).is_err());
    }
}
