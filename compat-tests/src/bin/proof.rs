//! The proof as a program: runs every scenario on the engines that are named, and prints one table.
//!
//! It is `compat-tests/run --only proof` that installs and builds what this needs. It ends with 0
//! only where the last column holds nothing but zeroes.

use std::process::ExitCode;

use compat_tests::proof;

fn main() -> ExitCode {
    proof::command::main(std::env::args().skip(1))
}
