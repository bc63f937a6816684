//! What a child process alone sees in a place of the file system; gone with it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub struct Mount {
    what: CString,
    at: CString,
    flags: libc::c_ulong,
    options: CString,
}

impl Mount {
    /// A disk in memory of so many MiB, for its owner alone.
    pub fn memory(at: &Path, mib: u32) -> Self {
        let options = format!("mode=700,size={mib}m");
        Self { what: c"tmpfs".into(), at: text(at), flags: 0, options: ended(options) }
    }

    /// Another folder.
    pub fn folder(from: &Path, at: &str) -> Self {
        let at = ended(at);
        Self { what: text(from), at, flags: libc::MS_BIND, options: c"".into() }
    }

    /// To be called in the child, before it becomes another program.
    pub fn alone(&self) -> io::Result<()> {
        unshare()?;
        mount(&self.what, &self.at, self.flags, &self.options)
    }
}

/// Fails where this process may not do that.
pub fn are_allowed() -> io::Result<()> {
    // SAFETY: the call is allowed between fork and exec, and concerns the child alone.
    unsafe { Command::new("true").pre_exec(unshare).status().map(drop) }
}

/// What is mounted from now on is seen by nobody else.
fn unshare() -> io::Result<()> {
    // SAFETY: a plain system call.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE, c"")
}

fn mount(what: &CStr, at: &CStr, flags: libc::c_ulong, options: &CStr) -> io::Result<()> {
    let (what, at, options) = (what.as_ptr(), at.as_ptr(), options.as_ptr());
    // SAFETY: a plain system call; every text ends with a zero.
    match unsafe { libc::mount(what, at, c"tmpfs".as_ptr(), flags, options.cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn text(path: &Path) -> CString {
    ended(path.as_os_str().as_bytes())
}

fn ended(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).expect("no zero in it")
}
