//! What goes wrong around the people, and when nobody was asked because of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::judge::Window;

/// What goes wrong around the people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    CutOff,
    Frozen,
    Killed,
    Lagging,
    LongFrozen,
    RegistrationsAway,
}

impl Fault {
    /// Each as often as it should come.
    const ALL: [Self; 12] = [
        Self::CutOff,
        Self::Frozen,
        Self::Frozen,
        Self::Killed,
        Self::Lagging,
        Self::Lagging,
        Self::Lagging,
        Self::Lagging,
        Self::LongFrozen,
        Self::RegistrationsAway,
        Self::RegistrationsAway,
        Self::RegistrationsAway,
    ];

    /// What there is to choose from: in calm runs nothing, and not the registrations where they are to stay.
    pub(super) fn choices(calm: bool, registered: bool) -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|fault| !(calm || registered && *fault == Self::RegistrationsAway))
            .collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CutOff => "cutOff",
            Self::Frozen => "frozen",
            Self::Killed => "killed",
            Self::Lagging => "lagging",
            Self::LongFrozen => "longFrozen",
            Self::RegistrationsAway => "registrationsAway",
        }
    }
}

/// When admission was not asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows(Arc<Mutex<Vec<Window>>>);

impl Windows {
    pub(super) fn all(&self) -> Vec<Window> {
        self.lock().clone()
    }

    /// Opens one; nobody knows yet when it ends.
    pub(super) fn open(&self, from: Timestamp) {
        self.lock().push(Window {
            from,
            to: Timestamp::MAX,
        });
    }

    /// Closes the last one.
    pub(super) fn close(&self, to: Timestamp) {
        if let Some(last) = self.lock().last_mut() {
            last.to = to;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Window>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
