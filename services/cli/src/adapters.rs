//! `cogwheel adapters`: the adapters of a server, and files on this side.

mod json;
mod local;
mod merge;
mod once;
mod text;

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cogwheel_api::adapter::v1::Adapter;
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_orchestrator::{RegisteredAdapter, check_adapter_name};
use cogwheel_service::{Address, Fatal};

use crate::args::{AdaptersAction, AdaptersArgs, ClientArgs, Lora};
use crate::client::Adapters;
use crate::generate::{cut, interruption};
use crate::hub;
pub(crate) use local::{default_name, upload};
pub(crate) use once::Once;
pub(crate) use text::summary;

/// Does what `args` say and prints the answer.
///
/// # Errors
/// A file that will not do, and what the server answers.
pub fn run(args: AdaptersArgs) -> Result<(), Fatal> {
    match args.action {
        AdaptersAction::Merge(args) => interruptible(move |is_interrupted| {
            merge::run(&args, &|| is_interrupted.load(Ordering::Relaxed))
        }),
        AdaptersAction::Show { adapter, model: Some(model), weight_name, alpha, json, .. } => {
            let lora = Lora { path: adapter, weight_name, alpha, name: None, scale: None };
            print(&shown(
                &open(
                    &lora,
                    &Checkpoint::open(&hub::model_folder(&model)?).map_err(Fatal::usage)?,
                )?
                .message(),
                json,
            )?)
        }
        AdaptersAction::Show { adapter, endpoint: Some(endpoint), client, json, .. } => {
            print(&shown(&get(endpoint, client, &adapter)?, json)?)
        }
        // The command line holds one of them.
        AdaptersAction::Show { .. } => Err(Fatal::usage("expected --model or --endpoint")),
        AdaptersAction::List { endpoint, client, json } => {
            let adapters =
                block_on(async { Adapters::of(&client.server(endpoint)?).list().await })?;
            let values = || adapters.iter().map(json::value).collect::<Vec<_>>();
            let text = if json { pretty(&values().into())? } else { text::list(&adapters) };
            print(&text)
        }
        AdaptersAction::Add { path, endpoint, client, name, weight_name, alpha } => {
            let upload = upload(&Lora { path, weight_name, name, alpha, scale: None })?;
            let added =
                block_on(async { Adapters::of(&client.server(endpoint)?).add(upload).await })?;
            print(&shown(&told(added)?, false)?)
        }
        AdaptersAction::Remove { name, endpoint, client } => {
            let removed = name.clone();
            let deleted =
                block_on(async { Adapters::of(&client.server(endpoint)?).remove(removed).await })?;
            print(&format!("{name}: {}\n", if deleted { "removed" } else { "was not there" }))
        }
    }
}

/// Does work that looks now and then whether it has been interrupted, and then leaves nothing behind.
///
/// # Errors
/// Those of the work; that it was interrupted.
fn interruptible(
    work: impl FnOnce(&AtomicBool) -> Result<(), Fatal> + Send + 'static,
) -> Result<(), Fatal> {
    tokio::runtime::Runtime::new().map_err(Fatal::failed)?.block_on(async {
        let interrupted = interruption()?;
        let flag = Arc::new(AtomicBool::new(false));
        let mut working = tokio::task::spawn_blocking({
            let flag = Arc::clone(&flag);
            move || work(&flag)
        });
        tokio::select! {
            biased;
            done = &mut working => return done.map_err(Fatal::failed)?,
            () = interrupted => flag.store(true, Ordering::Relaxed),
        }
        // It may have been done already.
        working.await.map_err(Fatal::failed)?.map_err(|_| cut())
    })
}

/// Opens an adapter's file and checks it against a checkpoint.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn open(lora: &Lora, checkpoint: &Checkpoint) -> Result<RegisteredAdapter, Fatal> {
    let Lora { path, weight_name, name, alpha, .. } = lora;
    let adapter = RegisteredAdapter::open(path, weight_name.as_deref(), *alpha, checkpoint)
        .map_err(Fatal::usage)?;
    let digest = &adapter.description().digest;
    let name = name.clone().unwrap_or_else(|| default_name(digest, *alpha));
    Ok(adapter.named(name))
}

/// What a server must have told.
pub(crate) fn told(adapter: Option<Adapter>) -> Result<Adapter, Fatal> {
    adapter.ok_or_else(|| Fatal::failed("the server's answer: expected an adapter, found none"))
}

fn get(endpoint: Address, client: ClientArgs, adapter: &Path) -> Result<Adapter, Fatal> {
    let name = adapter.to_string_lossy().into_owned();
    check_adapter_name(&name).map_err(|message| Fatal::usage(format!("name: {message}")))?;
    told(block_on(async { Adapters::of(&client.server(endpoint)?).get(name).await })?)
}

fn shown(adapter: &Adapter, json: bool) -> Result<String, Fatal> {
    if json { pretty(&json::value(adapter)) } else { Ok(text::full(adapter)) }
}

fn pretty(value: &serde_json::Value) -> Result<String, Fatal> {
    serde_json::to_string_pretty(value).map(|json| format!("{json}\n")).map_err(Fatal::failed)
}

fn block_on<T>(work: impl Future<Output = Result<T, Fatal>>) -> Result<T, Fatal> {
    let runtime = tokio::runtime::Runtime::new().map_err(Fatal::failed)?;
    let result = runtime.block_on(async {
        let interrupted = interruption()?;
        tokio::select! {
            biased;
            result = work => result,
            () = interrupted => Err(cut()),
        }
    });
    // What was cut is not waited for.
    runtime.shutdown_background();
    result
}

/// Prints an answer.
///
/// # Errors
/// When standard output cannot take it.
pub(crate) fn print(text: &str) -> Result<(), Fatal> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has gone away (`| head`) is no failure of ours.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Fatal::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
