//! `cogwheel`: client, and the four services in one process.

use std::process::ExitCode;

fn main() -> ExitCode {
    cogwheel_cli::run(std::env::args_os())
}
