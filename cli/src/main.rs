//! The `lbctl` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    lbctl::command::main()
}
