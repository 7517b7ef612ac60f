use tracing::warn;

/// Files that a process has open beside its clients' connections, at most: weights, libraries, connections to stages.
const OTHERS: u64 = 512;

/// Lets the process have as many files open as so many connections take, as far as the system lets it; says so where that
/// is not enough. Shells and service managers often allow 1024.
pub(super) fn allow(connections: usize) {
    let expected = OTHERS.saturating_add(connections as u64);
    match rlimit::increase_nofile_limit(expected) {
        Ok(found) if found < expected => warn!(
            "--max-connections: expected at least {expected} files that may be open, found {found}: more connections wait"
        ),
        Ok(_) => {}
        Err(error) => warn!(%error, "how many files may be open is unknown"),
    }
}
