//! The bridge: one executable for everything that an operator does.

use std::process::ExitCode;

fn main() -> ExitCode {
    landbridge::main()
}
