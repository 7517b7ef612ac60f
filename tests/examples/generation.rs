//! One side of a benchmark: a whole video through the four services of this process, on demand.
//!
//! Speaks lines: says `ready` when every stage is; answers `run` with the seconds from request to
//! the last byte, `outside` with the share of all runs so far that was not inside ONNX Runtime,
//! `save FILE` with `saved` when the latents of the last run are there as raw fp32.
//! `tools/bench/generation.py` drives it.
//!
//!     generation MODEL THREADS WIDTH HEIGHT FRAMES STEPS

use std::error::Error;
use std::io::BufRead as _;
use std::path::Path;
use std::time::Instant;

use cogwheel_api::generation::v1::{
    GenerateVideoRequest, OutputFormat, generate_video_response::Event,
};
use cogwheel_tests::{Chain, Video, collect};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, threads, sizes @ ..] = &arguments[..] else {
        return Err("usage: generation MODEL THREADS WIDTH HEIGHT FRAMES STEPS".into());
    };
    let sizes: Vec<u32> = sizes.iter().map(|size| size.parse()).collect::<Result<_, _>>()?;
    let &[width, height, num_frames, steps] = &sizes[..] else {
        return Err("expected WIDTH HEIGHT FRAMES STEPS".into());
    };
    let request = GenerateVideoRequest {
        prompt: "a red circle dancing under the rain".to_owned(),
        width: Some(width),
        height: Some(height),
        num_frames: Some(num_frames),
        num_inference_steps: Some(steps),
        seed: Some(42),
        output_format: OutputFormat::Mp4.into(),
        return_latents: true,
        ..GenerateVideoRequest::default()
    };
    let chain = Chain::start_threads(Path::new(model), threads, &[]);
    let mut client = chain.client();
    // The smallest request there is waits until every stage is loaded.
    let first = GenerateVideoRequest { num_inference_steps: Some(1), ..request.clone() };
    let mut last = collect(client.generate_video(first).await?.into_inner()).await?;
    let (mut seconds, mut inside) = (0.0, 0.0);

    println!("ready");
    for line in std::io::stdin().lock().lines() {
        match line?.split_whitespace().collect::<Vec<_>>()[..] {
            ["run"] => {
                let start = Instant::now();
                last = collect(client.generate_video(request.clone()).await?.into_inner()).await?;
                println!("{}", start.elapsed().as_secs_f64());
                let (run, runtime) = times(&last);
                seconds += run;
                inside += runtime;
            }
            ["outside"] => println!("{}", 1.0 - inside / seconds),
            ["save", path] => {
                std::fs::write(path, last.latents[0].bytes())?;
                println!("saved");
            }
            _ => return Err("expected run, outside or save FILE".into()),
        }
    }
    chain.stop().await;
    Ok(())
}

/// Seconds of the video, and of it inside ONNX Runtime.
fn times(video: &Video) -> (f64, f64) {
    let completed = video.events.iter().find_map(|(_, event)| match event {
        Event::VideoCompleted(completed) => Some((completed.seconds, completed.runtime_seconds)),
        _ => None,
    });
    completed.unwrap_or((f64::NAN, f64::NAN))
}
