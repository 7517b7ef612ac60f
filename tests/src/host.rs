use std::sync::atomic::{AtomicU32, Ordering};

/// A loopback address that nobody else listens on, so that a port of it that was given up stays free.
///
/// Where the system has one loopback address only, it is that one.
pub fn own_host() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) % 250;
    let [_, _, high, low] = std::process::id().to_be_bytes();
    // Linux has all of 127.0.0.0/8.
    if cfg!(target_os = "linux") {
        format!("127.{}.{high}.{low}", count + 1)
    } else {
        "127.0.0.1".to_owned()
    }
}
