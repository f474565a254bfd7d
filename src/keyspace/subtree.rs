//! Going through a subtree, level by level, with strong reads.
//!
//! Not here: what is looked for; each page is given to whoever walks, who says in which of its
//! directories there may be more, or that it has seen enough.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Keyspace;
use crate::store::{Consistency, Level, Store, StoreError};
use crate::v2::{Item, Key};

/// After a page: the directories in it that are to be gone into, or an end to it all.
pub(super) type Onward = ControlFlow<(), Vec<Key>>;

impl<S: Store> Keyspace<S> {
    /// Shows a visitor everything below a directory.
    pub(super) async fn walk_below(
        &self,
        top: &Key,
        mut visit: impl FnMut(&[Arc<Item>]) -> Onward + Send,
    ) -> Result<(), StoreError> {
        let mut tops = vec![top.clone()];
        if top.is_root() {
            // The subtrees below the root are listed one by one, as the store's listings want it.
            match self.walk_level(top, 1, &mut visit).await? {
                ControlFlow::Continue(dirs) => tops = dirs,
                ControlFlow::Break(()) => return Ok(()),
            }
        }
        for top in &tops {
            let mut depth = top.depth();
            loop {
                depth += 1;
                match self.walk_level(top, depth, &mut visit).await? {
                    ControlFlow::Continue(dirs) if dirs.is_empty() => break,
                    ControlFlow::Continue(_) => {}
                    ControlFlow::Break(()) => return Ok(()),
                }
            }
        }
        Ok(())
    }

    async fn walk_level(
        &self,
        below: &Key,
        depth: u16,
        visit: &mut (impl FnMut(&[Arc<Item>]) -> Onward + Send),
    ) -> Result<Onward, StoreError> {
        let mut dirs = Vec::new();
        let mut from = None;
        loop {
            let level = Level { below, depth, from };
            let page = self.store.list(level, Consistency::Strong).await?;
            match visit(&page.items) {
                ControlFlow::Continue(inside) => dirs.extend(inside),
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(ControlFlow::Continue(dirs)),
            }
        }
    }
}
