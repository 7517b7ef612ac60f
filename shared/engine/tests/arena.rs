//! A model and its variants compute in one memory, which is given back with the session. One test, since the memory is the
//! process's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod graphs;

use cogwheel_engine::{
    CancellationToken, Provider, Runtime, Session, SessionOptions, Variant, VariantMaker,
};
use cogwheel_tensor::{DType, Tensor};
use graphs::ramp;

const WIDTH: usize = 64;
const ROWS: usize = 64 * 1024;
const BIAS: &str = "layers.1.up.bias";

/// Pages of memory that the kernel has given this thread at a first touch.
fn page_faults() -> usize {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The second field is a name in parentheses; of those after it, the eighth.
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(7).unwrap().parse().unwrap()
}

/// Of memory that is not a file's, in this process.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
}

/// Page faults of a run.
fn run(session: &mut Session, variant: Option<&Variant>, x: &Tensor) -> usize {
    let before = page_faults();
    session.run_variant(variant, &[("x", x.into())], &CancellationToken::new()).unwrap();
    page_faults() - before
}

#[test]
fn variants_run_in_the_memory_that_the_model_ran_in_and_it_ends_with_them() {
    let (model, table) = graphs::feed_forward(WIDTH, 2);
    let x = ramp(&[ROWS, WIDTH], 0.7);
    let widest = ROWS * 4 * WIDTH * size_of::<f32>();
    let (provider, threads) = (Provider::Cpu, Some(1));
    for matrix_unit in [true, false] {
        let options = SessionOptions {
            provider,
            threads,
            prepack: false,
            matrix_unit,
            variants: true,
            ..SessionOptions::default()
        };
        let mut session =
            Session::new(&Runtime::load().unwrap(), &model, &table, &options).unwrap();
        let maker = VariantMaker::of(&model, &options, DType::F32);
        let [first, second] = [0.3, 0.4].map(|factor| {
            let mut making = maker.begin();
            making.add(BIAS, ramp(&[4 * WIDTH], factor)).unwrap();
            making.finish()
        });
        let before = resident_bytes();
        let faults = run(&mut session, None, &x);
        for variant in [Some(&first), Some(&second), Some(&first), None] {
            let again = run(&mut session, variant, &x);
            assert!(again * 4 < faults, "{again} faults after {faults}: {options:?}");
        }
        let grown = resident_bytes() - before;
        assert!(grown > widest, "{grown} bytes: {options:?}");
        drop(session);
        let kept = resident_bytes().saturating_sub(before);
        assert!(kept * 4 < grown, "{kept} of {grown} bytes kept: {options:?}");
    }
}
