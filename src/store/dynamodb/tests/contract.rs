//! The contract, on two gateways with one table.

use super::*;
use crate::store::conformance::{Subject, conformance};

/// Two gateways on one table.
struct Gateways(DynamoDbStore, DynamoDbStore);

impl Subject for Gateways {
    type Store = DynamoDbStore;

    fn store(&self) -> &DynamoDbStore {
        &self.0
    }

    fn second(&self) -> &DynamoDbStore {
        &self.1
    }
}

async fn gateways() -> Gateways {
    let engine = Engine::new();
    Gateways(engine.store(Meter::none()).await, engine.store(Meter::none()).await)
}

conformance!(gateways());
