use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use cogwheel_service::Address;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::{Pool, Replica};
use crate::settings::StageAddress;

/// Addresses of one name that are used; the rest of a longer answer is left out.
const MAX_ADDRESSES: usize = 64;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Gives the pool the replicas at these addresses; those of a name come and go with what it stands for.
pub(super) fn begin(
    pool: &Arc<Pool>,
    addresses: &[StageAddress],
    every: Duration,
) -> Vec<AbortOnDropHandle<()>> {
    let mut resolving = Vec::new();
    for address in addresses {
        match address {
            StageAddress::One(address) => {
                let replica = Replica::begin(pool, address);
                pool.list().push(replica);
            }
            StageAddress::Name { secure, host, port } => {
                let scheme = if *secure { "https" } else { "http" };
                // The characters of a name and a port make an address.
                let Ok(uri) = format!("{scheme}://{host}:{port}").parse() else { continue };
                let name = (host.clone(), *port, uri);
                let span = tracing::info_span!("replicas", service = "orchestrator");
                let task = keep_resolved(Arc::downgrade(pool), name, every);
                resolving.push(AbortOnDropHandle::new(tokio::spawn(task.instrument(span))));
            }
        }
    }
    resolving
}

/// Resolves a name over and over. What it last stood for stays in use when it cannot be resolved.
async fn keep_resolved(
    pool: Weak<Pool>,
    (host, port, name): (String, u16, Address),
    every: Duration,
) {
    let mut known: Vec<(SocketAddr, Arc<Replica>)> = Vec::new();
    loop {
        let lookup = tokio::net::lookup_host((host.as_str(), port));
        let found = match tokio::time::timeout(ANSWER, lookup).await {
            Ok(Ok(found)) => found.take(MAX_ADDRESSES).collect::<BTreeSet<_>>(),
            Ok(Err(error)) => {
                tracing::warn!(host, %error, "a stage's name cannot be resolved");
                BTreeSet::new()
            }
            Err(_) => {
                tracing::warn!(host, "a stage's name is not resolved in time");
                BTreeSet::new()
            }
        };
        let Some(pool) = pool.upgrade() else { return };
        if !found.is_empty() {
            update(&pool, &name, &mut known, &found);
        }
        drop(pool);
        tokio::time::sleep(every).await;
    }
}

/// Adds the replicas that are new and removes those that are gone; calls that run on these go on.
fn update(
    pool: &Arc<Pool>,
    name: &Address,
    known: &mut Vec<(SocketAddr, Arc<Replica>)>,
    found: &BTreeSet<SocketAddr>,
) {
    let (kept, gone): (Vec<_>, Vec<_>) =
        known.drain(..).partition(|(address, _)| found.contains(address));
    *known = kept;
    let new = found.iter().filter(|new| known.iter().all(|(address, _)| address != *new));
    let new: Vec<_> = new.map(|&socket| (socket, Replica::begin(pool, &name.at(socket)))).collect();
    let mut list = pool.list();
    list.retain(|replica| gone.iter().all(|(_, gone)| !Arc::ptr_eq(gone, replica)));
    list.extend(new.iter().map(|(_, replica)| Arc::clone(replica)));
    drop(list);
    known.extend(new);
    pool.tell_change();
}
