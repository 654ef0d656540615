//! The binary `lunasec`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lunasec_sidecar::cli::main(std::env::args_os())
}
