//! A real Chromium without a screen, told what to do over a pair of pipes (the Chrome DevTools Protocol: JSON, each message
//! ended by a zero byte). Its folder is new and empty, and it asks nobody but the pages it is sent to.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Command,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{plain::Running, program};

/// A tab of it.
#[derive(Debug)]
pub struct Browser {
    to: File,
    from: BufReader<File>,
    next: u64,
    session: Option<String>,
    /// What the page has complained of.
    complaints: Vec<String>,
    folder: TempDir,
    _running: Running,
}

const ARGUMENTS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                         --disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe";

impl Browser {
    /// Starts it with an empty tab.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [to, from] = ["to", "from"].map(|name| {
            let path = folder.path().join(name);
            mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
            path
        });
        // The browser reads from descriptor 3 and writes to 4.
        let script =
            format!("exec \"$0\" {ARGUMENTS} --user-data-dir=\"$1/profile\" 3<\"$1/to\" 4>\"$1/from\"");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(program::find("chromium")).arg(folder.path());
        command.env("HOME", folder.path());
        let running = Running::start(&mut command, &folder.path().join("log"));
        let to = OpenOptions::new().write(true).open(to).expect("the browser reads");
        let from = BufReader::new(File::open(from).expect("the browser writes"));
        let mut browser =
            Self { to, from, next: 0, session: None, complaints: Vec::new(), folder, _running: running };
        let tab = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached =
            browser.call("Target.attachToTarget", &json!({ "targetId": tab["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Asks it for something; what it answered.
    ///
    /// # Panics
    /// It refused, or has ended.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let sent = self.to.write_all(format!("{message}\0").as_bytes());
        sent.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        loop {
            let message = self.receive();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    #[track_caller]
    fn receive(&mut self) -> Value {
        let mut message = Vec::new();
        let length = self.from.read_until(0, &mut message).unwrap_or(0);
        assert!(length > 0, "the browser has ended\n{}", self.log());
        serde_json::from_slice(&message[..length - 1]).expect("JSON")
    }

    fn note(&mut self, event: &Value) {
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => &event["params"]["exceptionDetails"],
            Some("Log.entryAdded") => &event["params"]["entry"],
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }

    /// Goes to `url` and waits until it is loaded.
    #[track_caller]
    pub fn go(&mut self, url: &str) {
        let found = self.call("Page.navigate", &json!({ "url": url }));
        assert!(found["errorText"].is_null(), "{url}: {found}");
        self.wait_for_load();
    }

    /// Loads the page again, as its user would.
    #[track_caller]
    pub fn reload(&mut self) {
        self.call("Page.reload", &json!({}));
        self.wait_for_load();
    }

    #[track_caller]
    fn wait_for_load(&mut self) {
        loop {
            let event = self.receive();
            if event["method"] == "Page.loadEventFired" {
                return;
            }
            self.note(&event);
        }
    }

    /// What `expression` is in the page.
    ///
    /// # Panics
    /// It throws.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let found =
            self.call("Runtime.evaluate", &json!({ "expression": expression, "returnByValue": true }));
        assert!(found["exceptionDetails"].is_null(), "{expression}: {found}");
        found["result"]["value"].clone()
    }

    /// What it shows as text.
    #[track_caller]
    pub fn text(&mut self) -> String {
        self.evaluate("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Errors of scripts and refusals of the page's policy so far.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// As wide and high as a screen of so many points.
    #[track_caller]
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// A picture of what it shows, as PNG in base64.
    #[track_caller]
    pub fn picture(&mut self) -> String {
        let found =
            self.call("Page.captureScreenshot", &json!({ "format": "png", "optimizeForSpeed": false }));
        found["data"].as_str().unwrap_or_default().to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(Path::new(self.folder.path()).join("log")).unwrap_or_default()
    }
}
