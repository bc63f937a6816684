//! Which processes of other containers run beside this one, for a pod whose containers share their
//! process namespace.
//!
//! A container has its own mount namespace, and so have its processes. `/proc/PID/ns/mnt` says which,
//! but not of another user's process to one without rights, as a sidecar is; those of its own
//! container are of its own user. So what can't be read is another's too: in doubt it is better to
//! wait too long than to leave while the app still needs the mesh. The sandbox's own `pause`, process
//! 1, and dead ones don't count. Which container a process is of is told by `/proc/PID/cgroup` and
//! `/proc/PID/mountinfo`, which anyone may read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Whether processes of other containers could be seen if there were any.
    pub is_shared: bool,
    /// How many of them live.
    pub others: usize,
    /// Those that they are of.
    pub containers: BTreeSet<Container>,
}

/// What tells a container from the others of its pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Container {
    /// Its name in the pod, which it keeps when it is restarted.
    Named(String),
    /// Its cgroup, where no name is to be seen. One that is restarted gets another.
    Grouped(String),
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
    let group = |folder: &Path| fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
    let own_group = group(&proc.join(own.id.to_string()));
    let mut names: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut found = Beside { is_shared: false, others: 0, containers: BTreeSet::new() };
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
        if is_others {
            // Of one that changed its root no mounts are seen, and its neighbours know the name.
            let name = names.entry(level(&group(&entry.path()), &own_group).to_owned());
            let mounts = || fs::read_to_string(entry.path().join("mountinfo"));
            let name = name.or_default();
            *name = name.take().or_else(|| named(&mounts().ok()?).map(str::to_owned));
        }
    }
    let container =
        |(group, name): (_, Option<_>)| name.map_or(Container::Grouped(group), Container::Named);
    found.containers = names.into_iter().map(container).collect();
    Ok(found)
}

/// The step of a cgroup's path that is the container's: the first below what it has in common with
/// our own, which is the pod's. Below it is what the container makes for itself. A path may be told
/// from our own group on, and then begins with `..`.
fn level<'a>(group: &'a str, own: &str) -> &'a str {
    fn steps(line: &str) -> impl Iterator<Item = &str> {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        path.split('/').filter(|step| !matches!(*step, "" | ".."))
    }
    let differs = |(line, own): (&'a str, &str)| {
        let mut own = steps(own);
        steps(line).find(|step| own.next() != Some(*step))
    };
    // A line is a hierarchy, of which version 1 has many; containers needn't differ in each.
    group.lines().zip(own.lines()).find_map(differs).unwrap_or_default()
}

/// A container's name, by the file that kubelet mounts into each for its last words:
/// `pods/<pod>/containers/<name>/<a number>` in kubelet's folder.
fn named(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut steps = line.split(' ').nth(3)?.rsplit('/').skip(1);
        let [name, containers, _, pods] = [(); 4].map(|()| steps.next().unwrap_or_default());
        (containers == "containers" && pods == "pods").then_some(name)
    })
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
    fn containers_are_told_apart() {
        let folder =
            std::env::temp_dir().join(format!("outrigger-processes-{}", std::process::id()));
        let own = std::process::id();
        let last_words =
            "9 8 254:1 /lib/kubelet/pods/d05c/containers/db/a053 /words rw - ext4 x rw";
        let rows = [
            (1, "pause", "0::/../pause", ""),
            (own, "outrigger-proxy", "0::/", ""),
            (own + 1, "web", "0::/../web", "9 8 254:1 / / rw - ext4 x rw\n"),
            (own + 2, "worker", "0::/../web/of/its/own", ""),
            (own + 3, "log", "0::/../log", ""),
            (own + 4, "db", "0::/../2f8a", last_words),
            (own + 5, "elsewhere", "0::/../2f8a/jail", ""),
        ];
        for (id, name, group, mounts) in rows {
            let process = folder.join(id.to_string());
            fs::create_dir_all(&process).expect("a temporary folder");
            fs::write(process.join("status"), STATUS.replace("web app", name)).expect("room");
            fs::write(process.join("cgroup"), group).expect("room");
            fs::write(process.join("mountinfo"), mounts).expect("room");
        }
        let found = look(&folder);
        fs::remove_dir_all(&folder).expect("it is ours");
        let grouped = ["log", "web"].map(|name| Container::Grouped(name.into()));
        let containers = grouped.into_iter().chain([Container::Named("db".into())]).collect();
        assert_eq!(found.expect("read"), Beside { is_shared: true, others: 5, containers });
    }

    #[test]
    fn a_containers_level_is_found_in_every_form() {
        let pod = "/docker/node/kubelet.slice/kubepods-pod1.slice";
        let rows = [
            ("0::/".to_owned(), "0::/../cri-containerd-a.scope/init".to_owned()),
            ("0::/".to_owned(), "0::/../../cri-containerd-a.scope/container".to_owned()),
            (format!("0::{pod}/b"), format!("0::{pod}/cri-containerd-a.scope/x/y")),
            (
                format!("2:cpu:{pod}/b\n1:name=systemd:{pod}/b\n0::/system"),
                format!("2:cpu:{pod}/cri-containerd-a.scope\n1:name=systemd:/x\n0::/system"),
            ),
            (format!("2:cpu:/\n0::{pod}/b"), format!("2:cpu:/\n0::{pod}/cri-containerd-a.scope")),
        ];
        for (own, group) in rows {
            assert_eq!(level(&group, &own), "cri-containerd-a.scope", "{group} beside {own}");
        }
        assert_eq!(level("0::/any", "0::/any"), "");
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
