//! What each call consumes, as DynamoDB counts it.

use std::sync::Mutex;

use super::*;
use crate::store::Level;

/// A meter, and what it was told since it was asked last.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<Vec<Consumed>>>);

impl Counted {
    fn meter(&self) -> Meter {
        let told = self.clone();
        Meter::new(move |consumed| told.0.lock().unwrap().push(consumed))
    }

    /// Calls, read units, write units.
    fn take(&self) -> (usize, f64, f64) {
        let told = std::mem::take(&mut *self.0.lock().unwrap());
        let reads = told.iter().map(|c| c.units.read).sum();
        (told.len(), reads, told.iter().map(|c| c.units.write).sum())
    }
}

#[tokio::test]
async fn calls_consume_what_the_design_says() {
    let counted = Counted::default();
    let store = Engine::new().store(counted.meter()).await;
    applied(store.commit(&commit(1, vec![make_dir("/d")])).await);
    assert_eq!(counted.take(), (1, 0.0, 1.0), "one part");

    applied(store.commit(&commit(2, vec![put("/d/a", "1", vec![]), stamp("/d")])).await);
    assert_eq!(counted.take(), (1, 0.0, 4.0), "a create in a directory");

    applied(store.commit(&commit(3, vec![put("/d/a", "2", vec![])])).await);
    assert_eq!(counted.take(), (1, 0.0, 1.0), "a write over a file");

    let other = vec![Precondition::Value(Value::from("1"))];
    let refused = store.commit(&commit(4, vec![put("/d/a", "3", other.clone())])).await;
    assert!(matches!(refused, Ok(Committed::Refused { .. })));
    assert_eq!(counted.take(), (1, 0.0, 1.0), "a condition that fails");

    let parts = vec![put("/d/a", "3", other), stamp("/d")];
    assert!(matches!(store.commit(&commit(4, parts)).await, Ok(Committed::Refused { .. })));
    assert_eq!(counted.take(), (1, 0.0, 4.0), "a condition that fails in a transaction");

    let missing = store.commit(&commit(4, vec![remove("/d/none")])).await;
    assert!(matches!(missing, Ok(Committed::Refused { .. })));
    assert_eq!(counted.take(), (1, 0.0, 1.0), "a condition on nothing");

    applied(store.commit(&commit(5, vec![remove("/d/a")])).await);
    assert_eq!(counted.take(), (1, 0.0, 1.0), "a delete");

    for (consistency, units) in [(Consistency::Strong, 1.0), (Consistency::Eventual, 0.5)] {
        store.get(&key("/d/a"), consistency).await.unwrap();
        assert_eq!(counted.take(), (1, units, 0.0), "a read, {consistency:?}");
        store.get(&key("/none"), consistency).await.unwrap();
        assert_eq!(counted.take(), (1, units, 0.0), "a read of nothing, {consistency:?}");
        let level = Level { below: &key("/d"), depth: 2, from: None };
        store.list(level, consistency).await.unwrap();
        assert_eq!(counted.take(), (1, units, 0.0), "a level, {consistency:?}");
    }
    store.get_many(&[key("/d"), key("/d/a"), key("/none")]).await.unwrap();
    assert_eq!(counted.take(), (1, 3.0, 0.0), "several reads");
}
