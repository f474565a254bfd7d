//! The etcdynamo program.
fn main() {}
