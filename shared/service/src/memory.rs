use std::{fmt, fs};

/// More memory than there is, in words.
#[derive(Clone, Copy, Debug)]
pub struct MemoryNeed {
    /// Bytes that a request needs, about.
    pub need: u64,
    /// Bytes that it may take.
    pub limit: u64,
}

impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [need, limit] = [self.need, self.limit].map(|bytes| match bytes {
            ..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
            _ => format!("{:.2} GB", bytes as f64 / 1e9),
        });
        write!(f, "needs about {need} of memory, the limit is {limit}")
    }
}

/// Bytes of memory that this process may use: the machine's, or less where a control group says
/// so. `None` where the operating system does not tell.
pub fn machine_memory() -> Option<u64> {
    let total = meminfo(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok());
    Some(group.map_or(total, |limit: u64| limit.min(total)))
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_in_bytes() {
        assert_eq!(meminfo("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert_eq!(meminfo("MemFree: 1 kB\n"), None);
        assert_eq!(meminfo("MemTotal: many kB\n"), None);
    }
}
