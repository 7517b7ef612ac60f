//! A run ends when its caller's token fires.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod graphs;

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use cogwheel_engine::{CancellationToken, EngineError, Provider, Runtime, Session, SessionOptions};
use graphs::ramp;

const WIDTH: usize = 256;
/// Far more than anyone waits for: about a minute of products.
const LAYERS: usize = 2_000;
const ROWS: usize = 4_096;

#[test]
fn a_token_fired_in_the_run_ends_it_and_the_session_lives_on() {
    for matrix_unit in [false, true] {
        let threads = Some(1);
        check(&SessionOptions {
            provider: Provider::Cpu,
            threads,
            prepack: false,
            matrix_unit,
            quantize: None,
            ..SessionOptions::default()
        });
    }
}

fn check(options: &SessionOptions) {
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::repeated(WIDTH, LAYERS);
    let mut session = Session::new(&runtime, &model, &table, options).unwrap();
    let x = ramp(&[ROWS, WIDTH], 0.1);
    let token = CancellationToken::new();
    let start = Barrier::new(2);
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            let since = Instant::now();
            while since.elapsed() < Duration::from_millis(50) {
                std::hint::spin_loop();
            }
            token.cancel();
        });
        start.wait();
        session.run(&[("x", (&x).into())], &token).unwrap_err()
    });
    assert!(matches!(error, EngineError::Cancelled), "{error}");
    assert!(!session.time_inside().is_zero(), "the run had begun");

    let x = ramp(&[1, WIDTH], 0.1);
    session.run(&[("x", (&x).into())], &CancellationToken::new()).unwrap();
}

#[test]
fn a_token_fired_before_the_run_keeps_it_from_starting() {
    let runtime = Runtime::load().unwrap();
    let (model, table) = graphs::feed_forward(8, 1);
    let mut session = Session::new(&runtime, &model, &table, &SessionOptions::default()).unwrap();
    let token = CancellationToken::new();
    token.cancel();
    let x = ramp(&[1, 8], 0.1);
    let error = session.run(&[("x", (&x).into())], &token).unwrap_err();
    assert!(matches!(error, EngineError::Cancelled), "{error}");
    assert!(session.time_inside().is_zero());
}
