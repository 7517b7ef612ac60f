//! `cogwheel serve`: the four services in one process.

use cogwheel_service::{Fatal, Limits, Shutdown, Telemetry};

use crate::args::{ServeArgs, Switch};
use crate::chain::{self, Chain, ChainSettings, StageQueue};
use crate::{hub, page};

/// Serves until a signal, then drains.
///
/// # Errors
/// What keeps it from serving: the checkpoint, the port, a stage that cannot load.
pub fn run(args: ServeArgs) -> Result<(), Fatal> {
    let telemetry = Telemetry::begin("cogwheel", &args.logs, &args.traces).map_err(Fatal::usage)?;
    let result = serve(args);
    telemetry.finish();
    result
}

fn serve(args: ServeArgs) -> Result<(), Fatal> {
    let settings = ChainSettings {
        checkpoint: chain::open_checkpoint(&hub::model_folder(&args.model)?)?
            .with_quantized(args.compute.is_quantized()),
        compute: args.compute,
        memory_limit: args.memory_limit.map(|limit| limit.bytes),
        vae_tiling: args.tiling.vae_tiling,
        queue: StageQueue { depth: args.queue_depth },
        work: args.work,
        size: [None; 3],
        from_video: false,
        adapters: args.adapters,
        variants: args.variants,
        inputs: args.inputs,
        enhancer: args.enhancer,
        given_adapters: Vec::new(),
        page: (args.page == Switch::On).then_some(page::PAGE),
    };
    let shutdown = Shutdown::new();
    // Answers until the very end.
    let _admin = args.server.admin(&shutdown)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Fatal::failed)?;
    let result = runtime.block_on(async {
        shutdown.on_signals().map_err(Fatal::failed)?;
        let listener = args.server.bind().await?;
        if let (Switch::On, Some(address)) = (args.page, listener.address()) {
            tracing::info!(url = page::url(address, listener.has_tls()), "open it in a browser");
        }
        Chain::start(settings, listener, Limits::from(&args.server), shutdown).wait().await
    });
    // What was cut is not waited for.
    runtime.shutdown_background();
    result
}
