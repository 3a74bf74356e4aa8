//! The memory of request bodies: bounded for all of them together, and returned at once.

use std::{ops::Deref, sync::Arc};

use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{BodyError, LIMIT_BYTES};

/// The bytes that every body may use without drawing on the budget.
///
/// Usual reviews are smaller, so large ones never keep them out.
pub const OWN_BYTES: usize = 16 * 1024;

/// The bytes that all larger bodies may use together.
pub const SHARED_BYTES: usize = 16 * 1024 * 1024;

/// The step in which the budget is drawn, in bytes.
const STEP_BYTES: usize = 64 * 1024;

/// The memory budget that large bodies share.
///
/// It is drawn as a body grows, so announcing a large body does not block others.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    /// A budget of this many bytes, usually [`SHARED_BYTES`].
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// An empty body, whose head announces this many bytes.
    pub(super) fn body(&self, announced: Option<usize>) -> ReviewBody {
        ReviewBody {
            memory: Memory::Heap(Vec::new()),
            announced,
            budget: self.clone(),
            taken: None,
        }
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.0.available_permits()
    }
}

/// The body of a review. It holds its share of the budget until it is dropped.
#[derive(Debug)]
pub struct ReviewBody {
    memory: Memory,
    announced: Option<usize>,
    budget: BodyBudget,
    taken: Option<OwnedSemaphorePermit>,
}

impl Deref for ReviewBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Heap(bytes) => bytes,
            Memory::Map { pages, len } => pages.get(..*len).unwrap_or_default(),
        }
    }
}

impl ReviewBody {
    /// Appends received data.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] beyond the limit, [`BodyError::NoRoom`] if the budget is used up.
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let needed = self.len() + data.len();
        if needed > LIMIT_BYTES {
            return Err(BodyError::TooLarge);
        }
        // Drawn in steps instead of for every chunk; near the limit, exactly.
        let most = self
            .announced
            .unwrap_or(LIMIT_BYTES)
            .max(needed);
        let step = needed
            .next_multiple_of(STEP_BYTES)
            .min(most);
        if self.take(step).is_err() {
            self.take(needed)?;
        }
        self.memory.append(data, most)
    }

    /// Draws the rest of the budget that a body of this many bytes needs.
    fn take(&mut self, bytes: usize) -> Result<(), BodyError> {
        let held = self
            .taken
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.saturating_sub(OWN_BYTES + held);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| BodyError::TooLarge)?;
        let more = self
            .budget
            .0
            .clone()
            .try_acquire_many_owned(more)
            .map_err(|_| BodyError::NoRoom)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            taken @ None => *taken = Some(more),
        }
        Ok(())
    }
}

/// The bytes of a body.
///
/// Allocators keep freed memory for each thread, so parallel bodies would cost several times their size.
/// A large body has its own pages: untouched pages cost nothing, and dropping the body returns them.
#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Map { pages: MmapMut, len: usize },
}

impl Memory {
    /// Appends to a body that will have `most` bytes at most.
    fn append(&mut self, data: &[u8], most: usize) -> Result<(), BodyError> {
        if let Self::Heap(bytes) = self {
            let len = bytes.len();
            let needed = len + data.len();
            if needed <= STEP_BYTES {
                // Only memory drawn from the budget is reserved.
                let capacity = if needed <= OWN_BYTES {
                    OWN_BYTES
                } else {
                    STEP_BYTES
                };
                bytes.reserve_exact(most.min(capacity).saturating_sub(len));
                bytes.extend_from_slice(data);
                return Ok(());
            }
            let mut pages = MmapMut::map_anon(most).map_err(|_| BodyError::NoRoom)?;
            copy(bytes, &mut pages, 0)?;
            *self = Self::Map { pages, len };
        }
        if let Self::Map { pages, len } = self {
            if *len + data.len() > pages.len() {
                // Longer than announced, which HTTP rules out.
                let mut larger = MmapMut::map_anon(most).map_err(|_| BodyError::NoRoom)?;
                copy(pages, &mut larger, 0)?;
                *pages = larger;
            }
            copy(data, pages, *len)?;
            *len += data.len();
        }
        Ok(())
    }
}

fn copy(data: &[u8], pages: &mut MmapMut, offset: usize) -> Result<(), BodyError> {
    pages
        .get_mut(offset..offset + data.len())
        .ok_or(BodyError::TooLarge)?
        .copy_from_slice(data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_came_however_it_came() {
        let text: Vec<u8> = (0..300_000_u32)
            .flat_map(u32::to_le_bytes)
            .collect();
        for announced in [None, Some(text.len()), Some(10)] {
            for piece in [1_000, STEP_BYTES, STEP_BYTES + 1, text.len()] {
                let mut body = BodyBudget::new(SHARED_BYTES).body(announced);
                for data in text.chunks(piece) {
                    body.append(data).unwrap();
                }
                assert!(*body == *text, "{announced:?}, {piece}");
            }
        }
    }
}
