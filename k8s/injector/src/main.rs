//! The binary `lunasec-injector`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lunasec_injector::cli::main(std::env::args_os())
}
