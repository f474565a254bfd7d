//! Which index of the target stands for which index of the reference.
//!
//! Learned as pairs come by. Invariant: one to one, in the same order, and 0 stands for 0.

use std::collections::BTreeMap;

/// The pairs seen so far.
#[derive(Clone, Debug, Default)]
pub struct Indexes {
    forward: BTreeMap<u64, u64>,
    backward: BTreeMap<u64, u64>,
}

impl Indexes {
    /// Takes a pair that stood in the same place of two answers.
    ///
    /// # Errors
    /// It contradicts an earlier pair.
    pub fn pair(&mut self, reference: u64, target: u64) -> Result<(), String> {
        if reference == 0 || target == 0 {
            return if reference == target {
                Ok(())
            } else {
                Err(format!("index {reference} against {target}"))
            };
        }
        match (self.forward.get(&reference), self.backward.get(&target)) {
            (Some(known), _) if *known != target => {
                Err(format!("index {reference} of the reference was {known}, now {target}"))
            }
            (_, Some(known)) if *known != reference => {
                Err(format!("index {target} of the target stood for {known}, now for {reference}"))
            }
            (Some(_), Some(_)) => Ok(()),
            _ => self.learn(reference, target),
        }
    }

    fn learn(&mut self, reference: u64, target: u64) -> Result<(), String> {
        let below = self.forward.range(..reference).next_back();
        let above = self.forward.range(reference..).next();
        if below.is_some_and(|(_, known)| *known >= target) {
            return Err(format!(
                "index {target} for {reference} is not above the earlier pair {below:?}"
            ));
        }
        if above.is_some_and(|(_, known)| *known <= target) {
            return Err(format!(
                "index {target} for {reference} is not below the later pair {above:?}"
            ));
        }
        self.forward.insert(reference, target);
        self.backward.insert(target, reference);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_one_to_one_and_in_order() {
        let mut indexes = Indexes::default();
        assert!(indexes.pair(0, 0).is_ok());
        assert!(indexes.pair(5, 500).is_ok());
        assert!(indexes.pair(5, 500).is_ok());
        assert!(indexes.pair(5, 501).is_err(), "another partner");
        assert!(indexes.pair(6, 500).is_err(), "the partner of another");
        assert!(indexes.pair(6, 400).is_err(), "out of order");
        assert!(indexes.pair(4, 600).is_err(), "out of order");
        assert!(indexes.pair(0, 7).is_err() && indexes.pair(7, 0).is_err());
        assert!(indexes.pair(9, 900).is_ok());
        assert!(indexes.pair(7, 700).is_ok(), "between two others");
    }
}
