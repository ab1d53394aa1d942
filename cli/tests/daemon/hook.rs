//! A web server of a few lines that takes what it is sent.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

/// What came: the head in lower case, and the content.
pub(crate) type Request = (String, Value);

/// As long as the test runs.
pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Vec<Request>>>,
}

impl Hook {
    /// Gives these answers in turn, and then the last one for ever; an empty one is none at all.
    pub(crate) fn at(listener: TcpListener, answers: &[&str]) -> Self {
        let address = listener.local_addr().expect("bound");
        let got = Arc::new(Mutex::new(Vec::new()));
        let (taken, answers) =
            (Arc::clone(&got), answers.iter().map(|answer| (*answer).to_owned()).collect::<Vec<_>>());
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                let Some(request) = read(&mut BufReader::new(&stream)) else { continue };
                let mut all = taken.lock().expect("not poisoned");
                let answer = answers.get(all.len()).or(answers.last()).cloned().unwrap_or_default();
                all.push(request);
                drop(all);
                if answer.is_empty() {
                    silent.push(stream);
                } else {
                    let _ = (&stream).write_all(answer.as_bytes());
                }
            }
        });
        Self { address, got }
    }

    pub(crate) fn start(answers: &[&str]) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").expect("bound"), answers)
    }

    pub(crate) fn got(&self) -> Vec<Request> {
        self.got.lock().expect("not poisoned").clone()
    }

    /// Kinds and states in the order in which they came.
    pub(crate) fn events(&self) -> Vec<String> {
        self.got().iter().map(|(_, event)| in_short(event)).collect()
    }
}

/// `server down`.
pub(crate) fn in_short(event: &Value) -> String {
    let of = |key: &str| event[key].as_str().unwrap_or_default();
    format!("{} {}", of("kind"), of("to"))
}

/// One request; `None` where it is none.
pub(crate) fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut content = vec![0; length];
    stream.read_exact(&mut content).ok()?;
    Some((head, serde_json::from_slice(&content).ok()?))
}
