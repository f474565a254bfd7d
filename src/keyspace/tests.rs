//! The service on the embedded store, with a clock that stands still.
