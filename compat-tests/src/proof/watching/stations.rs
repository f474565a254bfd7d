//! Where the gateways are while one of them is killed and started again at another address.
//!
//! Invariant: a gateway is gone here before it is killed, and back only when it is ready.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The addresses of the gateways; none: it is killed.
#[derive(Debug)]
pub(super) struct Stations(Mutex<Vec<Option<String>>>);

impl Stations {
    pub(super) fn new(addresses: &[&str]) -> Self {
        Self(Mutex::new(addresses.iter().map(|address| Some((*address).to_owned())).collect()))
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn address(&self, gateway: usize) -> Option<String> {
        self.lock().get(gateway).cloned().flatten()
    }

    pub(super) fn set(&self, gateway: usize, address: Option<&str>) {
        if let Some(known) = self.lock().get_mut(gateway) {
            *known = address.map(str::to_owned);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
