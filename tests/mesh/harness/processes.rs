//! A pod in one process namespace: `pause` is process 1, the sidecar runs as its own user without
//! any rights, and the app has a mount namespace of its own, as containers have.
//!
//! Everything in it is gone with process 1, and that with the value.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::host::NO_SKIP;
use super::{Folder, free_address, within};

pub struct Pod {
    pub folder: Folder,
    pub admin: SocketAddr,
    child: Child,
}

/// Its own user, and nothing that only root may do.
const UNPRIVILEGED: &str = "setpriv --reuid 2102 --regid 2102 --clear-groups --bounding-set=-all \
                            --inh-caps=-all --no-new-privs";

impl Pod {
    /// A pod whose app runs as this user until its folder has the file `gone`, and where somebody
    /// left a program running in the sidecar's container; `None`, with a line
    /// that says so, where this process may not make one, unless `TESTS_MUST_NOT_SKIP` is set.
    pub fn start(user: u32) -> Option<Pod> {
        Self::of(&format!(
            "{UNPRIVILEGED} ./proxy run --exit-with-app --config config.yaml >access.log 2>log &\n\
             sidecar=$!\n\
             unshare --mount -- setpriv --reuid {user} --regid {user} --clear-groups \
             sh -c 'until [ -e gone ]; do sleep 0.05; done' &\n\
             {UNPRIVILEGED} sleep 1000 &\n\
             wait $sidecar\n"
        ))
    }

    /// A pod of two containers: `web`, which is restarted, and `late`, which starts when somebody
    /// writes to its folder's pipe `image`. Each runs until the folder has the file `gone`, with its
    /// number after it, and has what kubelet mounts into each.
    pub fn of_two() -> Option<Pod> {
        Self::of(&format!(
            "{UNPRIVILEGED} ./proxy run --exit-with-app=2 --config config.yaml >access.log 2>log &\n\
             sidecar=$!\n\
             : >words\n\
             mkfifo image\n\
             run() {{\n\
             mkdir -p pods/uid/containers/$1\n\
             : >pods/uid/containers/$1/$2\n\
             unshare --mount -- sh -c \"mount --bind pods/uid/containers/$1/$2 words\n\
             : >runs$2\n\
             until [ -e gone$2 ]; do sleep 0.05; done\"\n\
             }}\n\
             run web 1\n\
             run web 2\n\
             read -r _ <image\n\
             run late 3\n\
             wait $sidecar\n"
        ))
    }

    /// The sidecar alone in its process namespace.
    pub fn unshared() -> Option<Pod> {
        Self::of(&format!(
            "exec {UNPRIVILEGED} ./proxy run --exit-with-app --config config.yaml >access.log 2>log\n"
        ))
    }

    fn of(script: &str) -> Option<Pod> {
        let made = Command::new("unshare").args(["--pid", "--mount", "--fork", "true"]).output();
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os(NO_SKIP).is_none(), "no pod: {made:?}");
            eprintln!("skipped: a pod needs root and `unshare` (util-linux): {made:?}");
            return None;
        }
        let (folder, admin) = (Folder::new("pod"), free_address());
        let drain = "drain: {minimum: 200ms, deadline: 5s}\nworkers: 1\nlog: {level: debug}\n";
        folder.write("config.yaml", &format!("admin: {{listen: \"{admin}\"}}\n{drain}"));
        folder.write("pause", &format!("#!/bin/sh\n{script}"));
        // Where everyone may run it.
        let copied = fs::copy(env!("CARGO_BIN_EXE_outrigger-proxy"), folder.path("proxy"));
        copied.expect("the folder has room");
        for (name, mode) in
            [("", 0o755), ("pause", 0o755), ("proxy", 0o755), ("config.yaml", 0o644)]
        {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(folder.path(name), mode).expect("they are ours");
        }
        let mut command = Command::new("unshare");
        command.args(["--pid", "--mount-proc", "--fork", "--kill-child", "--", "./pause"]);
        command.current_dir(&folder).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null());
        // SAFETY: the call is allowed between fork and exec, and touches nothing of ours.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        Some(Pod { child: command.spawn().expect("it did just now"), folder, admin })
    }

    pub fn log(&self) -> String {
        self.folder.read("log")
    }

    #[track_caller]
    pub fn await_log(&self, words: &str) {
        super::eventually(&format!("{words:?} in the log"), || self.log().contains(words));
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// How the sidecar left, when it leaves within `limit`.
    #[track_caller]
    pub fn exit(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        within(limit, "the sidecar leaves", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("it was waited for")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.folder.as_ref().display(), self.log());
        }
    }
}
