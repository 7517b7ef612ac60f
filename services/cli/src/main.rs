//! `cogwheel`: client, and the four services in one process.

fn main() {
    cogwheel_service::leave(cogwheel_cli::run(std::env::args_os()));
}
