//! Which processes of other containers run beside this one, for a pod whose containers share their
//! process namespace.
//!
//! A container has its own mount namespace, and so have its processes. `/proc/PID/ns/mnt` says which,
//! but not of another user's process to one without rights, as a sidecar is; those of its own
//! container are of its own user. So what can't be read is another's too: in doubt it is better to
//! wait too long than to leave while the app still needs the mesh. The sandbox's own `pause`, process
//! 1, and dead ones don't count.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Whether processes of other containers could be seen if there were any.
    pub is_shared: bool,
    /// How many of them live.
    pub others: usize,
}

/// Looks at `/proc`.
///
/// # Errors
/// The system's, where it can't be read.
pub fn beside() -> io::Result<Beside> {
    look(Path::new("/proc"))
}

fn look(proc: &Path) -> io::Result<Beside> {
    let own = Process::read(&proc.join(std::process::id().to_string()), std::process::id())?;
    let mut found = Beside { is_shared: false, others: 0 };
    for entry in fs::read_dir(proc)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has gone meanwhile can't be read.
        let Ok(process) = Process::read(&entry.path(), id) else { continue };
        let is_others = process.is_of_another_container(&own);
        found.is_shared |= id == 1 && (is_others || process.is_pause());
        found.others += usize::from(is_others);
    }
    Ok(found)
}

/// What is known of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    id: u32,
    name: String,
    is_dead: bool,
    /// Its mount namespace, where that may be read.
    mounts: Option<PathBuf>,
}

impl Process {
    fn read(folder: &Path, id: u32) -> io::Result<Process> {
        let status = fs::read_to_string(folder.join("status"))?;
        Ok(Process {
            mounts: fs::read_link(folder.join("ns/mnt")).ok(),
            ..Process::from_status(&status, id)
        })
    }

    fn from_status(status: &str, id: u32) -> Process {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).unwrap_or_default()
        };
        // A first thread that ended is a zombie too, while others of its process go on.
        let has_ended = field("State:").starts_with(['Z', 'X']);
        let threads: u32 = field("Threads:").parse().unwrap_or(0);
        Process {
            id,
            name: field("Name:").to_owned(),
            is_dead: has_ended && threads <= 1,
            mounts: None,
        }
    }

    fn is_pause(&self) -> bool {
        self.id == 1 && self.name == "pause"
    }

    fn is_of_another_container(&self, own: &Process) -> bool {
        let is_own = self.id == own.id || (self.mounts.is_some() && self.mounts == own.mounts);
        !is_own && !self.is_dead && !self.is_pause()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tweb app\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nPid:\t7\n\
                          Threads:\t3\n";

    fn process(id: u32, mounts: Option<&str>) -> Process {
        Process { id, name: "any".into(), is_dead: false, mounts: mounts.map(PathBuf::from) }
    }

    #[test]
    fn a_status_is_read() {
        let read = Process::from_status(STATUS, 7);
        assert_eq!((&*read.name, read.is_dead), ("web app", false));
        for (state, threads, is_dead) in
            [("Z (zombie)", "1", true), ("Z (zombie)", "3", false), ("X (dead)", "0", true)]
        {
            let status = STATUS.replace("S (sleeping)", state).replace('3', threads);
            assert_eq!(Process::from_status(&status, 7).is_dead, is_dead, "{state} {threads}");
        }
    }

    #[test]
    fn whose_a_process_is() {
        let own = process(9, Some("mnt:[1]"));
        let pause = Process { name: "pause".into(), ..process(1, None) };
        let rows = [
            (own.clone(), false, "ourselves"),
            (process(10, Some("mnt:[1]")), false, "a shell in our container"),
            (process(11, Some("mnt:[2]")), true, "an app of our user"),
            (process(12, None), true, "an app of another user"),
            (Process { is_dead: true, ..process(13, None) }, false, "dead"),
            (pause.clone(), false, "the sandbox's own"),
            (Process { id: 14, ..pause }, true, "an app that is called pause"),
            (process(1, None), true, "an app that is process 1"),
        ];
        for (process, expected, what) in rows {
            assert_eq!(process.is_of_another_container(&own), expected, "{what}");
        }
    }

    #[test]
    fn our_own_process_is_not_beside_itself() {
        let own = std::process::id();
        let read = Process::read(&Path::new("/proc").join(own.to_string()), own);
        let read = read.expect("everyone sees themselves");
        assert!(read.mounts.is_some(), "{read:?}");
        assert!(!read.is_of_another_container(&read));
        beside().expect("/proc is mounted");
    }
}
