//! A real browser without a screen: headless Chromium, told what to do over a pipe in the words of
//! its own developer tools, one JSON message after another, each with a NUL at its end.
//!
//! It has a profile of its own, and ends with its value. What its console complains of is kept.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::{Value, json};

use super::control_plane::die_with_us;
use super::host::NO_SKIP;
use super::{Folder, within};

/// For one answer. Generous: the machine may be busy with all the other scenarios.
const PATIENCE: Duration = Duration::from_secs(60);

/// For a page to show something that it shows at once.
const SHOWN: Duration = Duration::from_secs(20);

pub struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    sent: u64,
    complaints: Vec<String>,
    _profile: Folder,
}

impl Browser {
    /// `None`, with a line that says so, where there is no Chromium, unless `TESTS_MUST_NOT_SKIP`
    /// is set.
    pub fn start() -> Option<Self> {
        let profile = Folder::new("browser");
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.as_ref().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // SAFETY: the call is allowed between fork and exec, and touches nothing of ours.
        unsafe {
            command.pre_exec(die_with_us);
        }
        let mut child = command.spawn().expect("there is a shell");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in output.split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            input,
            messages,
            session: String::new(),
            sent: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let Some(tab) = browser.try_call("Target.createTarget", json!({"url": "about:blank"}))
        else {
            assert!(env::var_os(NO_SKIP).is_none(), "there is no browser");
            eprintln!("skipped: it needs `chromium` (Debian's package of that name)");
            return None;
        };
        let attach = json!({"targetId": tab["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("an id").to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|| panic!("{method}: the browser is gone"))
    }

    fn try_call(&mut self, method: &str, parameters: Value) -> Option<Value> {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": &parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).ok()?;
        loop {
            let mut message = self.messages.recv_timeout(PATIENCE).ok()?;
            if message["id"] == self.sent {
                // A page that renews itself just now has nothing to ask: the new one is asked.
                if message["error"]["message"] == "Inspected target navigated or closed" {
                    return self.try_call(method, parameters);
                }
                assert!(message["error"].is_null(), "{method}: {message}");
                return Some(message["result"].take());
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Value) {
        let what = match message["method"].as_str() {
            Some("Log.entryAdded") if message["params"]["entry"]["level"] == "error" => {
                &message["params"]["entry"]["text"]
            }
            Some("Runtime.exceptionThrown") => &message["params"]["exceptionDetails"],
            _ => return,
        };
        self.complaints.push(what.to_string());
    }

    /// How large the window is, and whether its person likes it dark.
    pub fn look(&mut self, width: u32, height: u32, theme: &str) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500,
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.call("Emulation.setEmulatedMedia", media);
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// What an expression has for a value in the page.
    #[track_caller]
    pub fn read(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub fn shows(&mut self, expression: &str) {
        self.shows_within(SHOWN, expression);
    }

    #[track_caller]
    pub fn shows_within(&mut self, limit: Duration, expression: &str) {
        let wanted = format!("!!({expression})");
        let mut last = Value::Null;
        within(limit, expression, || {
            last = self.read(&wanted);
            last == true
        });
    }

    /// A key, as its event's `key`; one letter also writes itself.
    pub fn press(&mut self, key: &str) {
        let mut event = json!({"type": "keyDown", "key": key});
        if key.chars().count() == 1 {
            event["text"] = json!(key);
        }
        self.call("Input.dispatchKeyEvent", event);
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key}));
    }

    /// Errors in its console, and what the page's policy kept out.
    pub fn complaints(&mut self) -> Vec<String> {
        // Whatever was said before this was answered is heard with it.
        self.read("0");
        std::mem::take(&mut self.complaints)
    }

    /// All of the page, as `target/screenshots/NAME.png`.
    pub fn photograph(&mut self, name: &str) {
        let size = self.read("[innerWidth, document.documentElement.scrollHeight]");
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let image = self.call("Page.captureScreenshot", parameters);
        let text = image["data"].as_str().expect("an image");
        let image = pem::parse(format!("-----BEGIN PNG-----\n{text}\n-----END PNG-----\n"));
        let folder = screenshots();
        fs::create_dir_all(&folder).expect("the folder of targets is writable");
        let image = image.expect("base64");
        fs::write(folder.join(format!("{name}.png")), image.contents()).expect("it has room");
    }
}

fn screenshots() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots")
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked, it ends its own processes; they also do when it is gone.
        let _ = self.input.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.messages.recv_timeout(Duration::from_secs(5));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
