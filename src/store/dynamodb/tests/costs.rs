//! What each call consumes, as DynamoDB counts it.

use std::sync::Mutex;

use super::super::engine::Fault;
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

#[tokio::test]
async fn a_condition_that_fails_costs_the_larger_of_both_items() {
    let counted = Counted::default();
    let store = Engine::new().store(counted.meter()).await;
    let large = "v".repeat(2500);
    let absent = vec![Precondition::Absent];
    let other = vec![Precondition::Value(Value::from("other"))];
    let refused = async |index, parts: Vec<Op>| {
        let answer = store.commit(&commit(index, parts)).await;
        assert!(matches!(answer, Ok(Committed::Refused { .. })), "{answer:?}");
        counted.take()
    };
    let nothing = refused(1, vec![put("/d", &large, other.clone())]).await;
    assert_eq!(nothing, (1, 0.0, 3.0), "nothing is there, and the new one is large");
    applied(store.commit(&commit(2, vec![put("/d", &large, vec![])])).await);
    counted.take();
    let old = refused(3, vec![put("/d", "1", other.clone())]).await;
    assert_eq!(old, (1, 0.0, 3.0), "the one that is there is larger");
    let value = vec![Precondition::Value(Value::from("x".repeat(9000).as_str()))];
    let compared = refused(4, vec![put("/d", "1", value)]).await;
    assert_eq!(compared, (1, 0.0, 3.0), "what is only compared with is not written");
    let both = refused(5, vec![put("/d", "1", absent), put("/e", &large, vec![])]).await;
    assert_eq!(both, (1, 0.0, 12.0), "a transaction, twice for each of its items");
}

#[tokio::test]
async fn what_an_engine_reports_is_not_made_smaller() {
    let counted = Counted::default();
    let engine = Engine::new();
    let store = engine.store(counted.meter()).await;
    let capacity = |units: &str| {
        let reply = format!(r#"{{"ConsumedCapacity":{{"TableName":"t",{units}}}}}"#);
        engine.script([Fault::Reply(200, reply)]);
    };
    capacity(r#""CapacityUnits":7.5"#);
    store.get(&key("/a"), Consistency::Strong).await.unwrap();
    assert_eq!(counted.take(), (1, 7.5, 0.0));
    capacity(r#""CapacityUnits":16"#);
    applied(store.commit(&commit(1, vec![put("/a", "1", vec![])])).await);
    assert_eq!(counted.take(), (1, 0.0, 16.0));
}

#[tokio::test]
async fn a_transaction_that_comes_again_with_its_token_is_a_read() {
    let counted = Counted::default();
    let engine = Engine::new();
    let store = engine.store(counted.meter()).await;
    // As DynamoDB answers; the engines count a write again.
    let capacity = r#"{"ConsumedCapacity":[
        {"TableName":"t","CapacityUnits":4.0,"ReadCapacityUnits":4.0}]}"#;
    engine.script([Fault::Reply(200, capacity.to_owned())]);
    applied(
        store.commit(&commit(1, vec![put("/d/a", "1", vec![]), put("/d/b", "", vec![])])).await,
    );
    assert_eq!(counted.take(), (1, 4.0, 0.0));
}
