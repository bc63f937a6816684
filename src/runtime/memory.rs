//! How near the process is to the memory that its container may have, where it would be killed.

use std::fs;
use std::path::Path;

/// Where a container finds its own limit: cgroup v2, then v1.
const LIMITS: [&str; 2] =
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Whether three quarters of the limit are in use; never where there is none. What has come in goes
/// on to grow: the rest is for that, and for what the kernel holds of sockets.
///
/// It reads two small files, for who asks a few times a second. The limit may be changed while the
/// process runs.
pub fn is_scarce() -> bool {
    let Some(limit) = LIMITS.iter().find_map(|path| limit(path.as_ref())) else { return false };
    let resident = fs::read_to_string("/proc/self/status").ok();
    resident.and_then(|text| in_use(&text)).is_some_and(|bytes| bytes > limit - limit / 4)
}

/// A word in place of a number, as v2 has it, is no limit; a number that v1 has in place of none is
/// more than anybody uses.
fn limit(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Of proc_pid_status(5).
fn in_use(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_read_of_the_status() {
        let own = fs::read_to_string("/proc/self/status").expect("it is there");
        assert!(in_use(&own).is_some_and(|bytes| bytes > 100 << 10), "{own}");
        assert_eq!(in_use("VmHWM:\t  9 kB\nVmRSS:\t    3 kB\n"), Some(3 << 10));
        assert_eq!(in_use(""), None);
    }

    #[test]
    fn a_limit_is_a_number() {
        let file = std::env::temp_dir().join(format!("outrigger-limit-{}", std::process::id()));
        for (text, expected) in [("max\n", None), ("134217728\n", Some(128 << 20)), ("", None)] {
            fs::write(&file, text).expect("the folder is writable");
            assert_eq!(limit(&file), expected);
        }
        fs::remove_file(&file).expect("it is ours");
        assert_eq!(limit(&file), None);
    }
}
