//! What parses but is refused: an option that cannot be honoured is never ignored.

use cogwheel_service::{
    ComputeArgs, ExecutionProvider, Fatal, MatrixUnit, Precision, Prepack, Tiling,
};

use super::{AdaptersAction, AdaptersArgs, GenerateArgs, ServeArgs};

/// Refuses what this build of `generate` cannot honour yet.
pub(super) fn generate(args: &GenerateArgs) -> Result<(), Fatal> {
    // Lines may bring videos of their own.
    if args.strength.is_some() && args.video.is_none() && args.prompt_file.is_none() {
        return Err(Fatal::usage("--strength: expected with --video only, found without"));
    }
    if args.model.is_some() && !args.adapter.is_empty() {
        return Err(Fatal::usage(
            "--adapter: expected with --endpoint only, found with --model, which has no registered \
             adapters: use --lora",
        ));
    }
    if args.compare {
        let many = args.num_videos.unwrap_or(1);
        // With --from the video says which, and it is looked at later.
        if args.from.is_none() && args.lora.is_empty() && args.adapter.is_empty() {
            return Err(Fatal::usage("--compare: expected --lora or --adapter, found neither"));
        }
        if many > 1 {
            return Err(Fatal::usage(format!(
                "--compare: expected one video, found --num-videos {many}"
            )));
        }
    }
    // How a server computes is its own affair, whatever this machine's environment says.
    if args.endpoint.is_some() { Ok(()) } else { precision(&args.compute) }
}

/// Refuses what this build of `serve` cannot honour yet.
pub(super) fn serve(args: &ServeArgs) -> Result<(), Fatal> {
    precision(&args.compute)
}

/// Refuses what this build of `adapters` cannot honour yet.
pub(super) fn adapters(args: &AdaptersArgs) -> Result<(), Fatal> {
    match &args.action {
        AdaptersAction::Merge(args) => args.storage().map(drop),
        _ => Ok(()),
    }
}

/// Refuses what only the server could decide; `auto` leaves it to the server.
pub(super) fn with_endpoint(
    args: &GenerateArgs,
    is_given: &dyn Fn(&str) -> bool,
) -> Result<(), Fatal> {
    if args.endpoint.is_none() {
        return Ok(());
    }
    let compute = &args.compute;
    let settings = [
        (compute.precision != Precision::Auto, "precision", "--precision"),
        (
            compute.execution_provider != ExecutionProvider::Auto,
            "execution_provider",
            "--execution-provider",
        ),
        (compute.threads.is_some(), "threads", "--threads"),
        (compute.prepack != Prepack::Auto, "prepack", "--prepack"),
        (compute.matrix_unit != MatrixUnit::Auto, "matrix_unit", "--matrix-unit"),
        (args.memory_limit.is_some(), "memory_limit", "--memory-limit"),
        (args.tiling.vae_tiling != Tiling::Auto, "vae_tiling", "--vae-tiling"),
        (args.enhancer.prompt_enhancer.is_some(), "prompt_enhancer", "--prompt-enhancer"),
        (
            args.enhancer.prompt_enhancer_model.is_some(),
            "prompt_enhancer_model",
            "--prompt-enhancer-model",
        ),
        (true, "max_input_pixels", "--max-input-pixels"),
        (true, "prompt_enhancer_timeout", "--prompt-enhancer-timeout"),
    ];
    let mut given = settings.iter().filter(|(set, id, _)| *set && is_given(id));
    match given.next() {
        None => Ok(()),
        Some((_, _, option)) => Err(Fatal::usage(format!(
            "{option}: expected with --model only, found with --endpoint, whose server has its own"
        ))),
    }
}

/// In the option's name, as the command line has it.
fn precision(compute: &ComputeArgs) -> Result<(), Fatal> {
    compute.storage().map(drop).map_err(|failure| Fatal::usage(format!("--{failure}")))
}
