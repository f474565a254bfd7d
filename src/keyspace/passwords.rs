//! Passwords: hashed with bcrypt as etcd does, and compared so that nobody learns anything but yes or no.
//!
//! A hash takes its time by design. So whoever was right once is remembered, by a keyed digest that is
//! worth nothing outside this process, until the hash changes; and only a few hashes are computed
//! at a time. A user that does not exist takes as long as a wrong password.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::v2::PasswordHash;

/// etcd's cost (bcrypt's default in Go).
const COST: u32 = 10;

/// How many hashes are computed side by side; more would take the threads that requests need.
const AT_A_TIME: usize = 2;

/// How many right answers are remembered.
const REMEMBERED: usize = 10_000;

/// Nobody's, to be compared with where there is no user.
static NOBODYS: LazyLock<PasswordHash> =
    LazyLock::new(|| hash("").unwrap_or_else(|_| PasswordHash(String::new())));

/// Compares passwords.
#[derive(Debug)]
pub(super) struct Passwords {
    key: hmac::Key,
    right: Mutex<HashMap<String, hmac::Tag>>,
    at_a_time: Semaphore,
}

/// The system gave no random bytes, or the password cannot be hashed.
#[derive(Debug)]
pub(super) struct CannotHash;

impl Passwords {
    pub(super) fn new() -> Result<Passwords, CannotHash> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Passwords {
            key: key.map_err(|_| CannotHash)?,
            right: Mutex::default(),
            at_a_time: Semaphore::new(AT_A_TIME),
        })
    }

    /// Hashes a new password.
    pub(super) async fn hash(&self, password: String) -> Result<PasswordHash, CannotHash> {
        let _turn = self.at_a_time.acquire().await.map_err(|_| CannotHash)?;
        tokio::task::spawn_blocking(move || hash(&password)).await.map_err(|_| CannotHash)?
    }

    /// Whether this is the password; never, where there is no hash of one.
    pub(super) async fn matches(&self, held: Option<&PasswordHash>, password: &str) -> bool {
        let held = held.cloned();
        if held.as_ref().is_some_and(|held| self.was_right(held, password)) {
            return true;
        }
        let Ok(_turn) = self.at_a_time.acquire().await else { return false };
        // Somebody else's turn may have told meanwhile.
        if held.as_ref().is_some_and(|held| self.was_right(held, password)) {
            return true;
        }
        let (shown, exists) = (password.to_owned(), held.is_some());
        let compared = held.clone();
        let is_right = tokio::task::spawn_blocking(move || {
            let hash = compared.unwrap_or_else(|| NOBODYS.clone());
            bcrypt::verify(shown, &hash.0).unwrap_or(false)
        });
        let is_right = is_right.await.unwrap_or(false) && exists;
        if let Some(held) = held.filter(|_| is_right) {
            self.remember(&held, password);
        }
        is_right
    }

    fn was_right(&self, held: &PasswordHash, password: &str) -> bool {
        let tag = self.lock().get(&held.0).copied();
        // In constant time.
        tag.is_some_and(|tag| hmac::verify(&self.key, password.as_bytes(), tag.as_ref()).is_ok())
    }

    fn remember(&self, held: &PasswordHash, password: &str) {
        let mut right = self.lock();
        if right.len() >= REMEMBERED {
            right.clear();
        }
        right.insert(held.0.clone(), hmac::sign(&self.key, password.as_bytes()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, hmac::Tag>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(password: &str) -> Result<PasswordHash, CannotHash> {
    bcrypt::hash(password, COST).map(PasswordHash).map_err(|_| CannotHash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches_also_when_it_was_right_before() {
        let passwords = Passwords::new().expect("random bytes");
        let first = passwords.hash("right".to_owned()).await.expect("a hash");
        for _ in 0..2 {
            assert!(passwords.matches(Some(&first), "right").await);
            assert!(!passwords.matches(Some(&first), "wrong").await);
            assert!(!passwords.matches(Some(&first), "").await);
            assert!(!passwords.matches(None, "right").await);
            assert!(!passwords.matches(None, "").await, "nobody's password is no password");
        }
        let changed = passwords.hash("other".to_owned()).await.expect("a hash");
        assert!(!passwords.matches(Some(&changed), "right").await, "what was right is no more");
        assert_eq!(passwords.lock().len(), 1);
    }

    #[tokio::test]
    async fn a_hash_of_etcds_own_is_understood() {
        // What Go's bcrypt made of "pw".
        let of_go = bcrypt::hash_with_result("pw", COST).expect("a hash");
        let hash = PasswordHash(of_go.format_for_version(bcrypt::Version::TwoA));
        assert!(Passwords::new().expect("random bytes").matches(Some(&hash), "pw").await);
    }
}
