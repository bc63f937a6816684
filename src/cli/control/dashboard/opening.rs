//! Shows the link in the person's browser, where there is a screen.
//!
//! Everybody on the machine can read what a command was started with, and the key in the link works
//! until somebody used it. So what is opened is a file that only its owner can read, which leads
//! there; it is gone when the link was used, or with its value.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, iter};

use crate::control::OperatorToken;

/// A file that leads to a link.
pub(super) struct Opening(PathBuf);

impl Drop for Opening {
    fn drop(&mut self) {
        // Who cleans up in there may have been earlier.
        let _ = fs::remove_file(&self.0);
    }
}

impl Opening {
    /// `None`: there is no screen, or nothing that opens a browser.
    pub(super) fn of(link: &str) -> Option<Self> {
        let mut screens = ["DISPLAY", "WAYLAND_DISPLAY"].iter();
        screens.find(|name| env::var_os(name).is_some())?;
        let opening = folders().find_map(|folder| Self::written(&folder, link).ok())?;
        let silent = || Stdio::null();
        let mut command = Command::new("xdg-open");
        command.arg(&opening.0).stdin(silent()).stdout(silent()).stderr(silent());
        command.spawn().ok()?;
        Some(opening)
    }

    fn written(folder: &Path, link: &str) -> io::Result<Self> {
        let name = OperatorToken::invent().ok_or(io::ErrorKind::Other)?;
        let path = folder.join(format!("outrigger-{}.html", &name[..16]));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let opening = Self(path);
        let page = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Outrigger</title>\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <meta http-equiv=\"refresh\" content=\"0; url={link}\">\n\
             <p><a href=\"{link}\">The dashboard</a>\n"
        );
        file.write_all(page.as_bytes())?;
        Ok(opening)
    }
}

/// The person's own first.
fn folders() -> impl Iterator<Item = PathBuf> {
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    own.into_iter().filter(|folder| folder.is_absolute()).chain(iter::once_with(env::temp_dir))
}
