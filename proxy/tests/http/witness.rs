//! What the log says of an exchange, where its status alone says too little.

use lb_proxy::Config;

use crate::syslog::Syslog;

/// The log of a frontend.
pub(crate) struct Witness(Syslog);

impl From<Syslog> for Witness {
    fn from(syslog: Syslog) -> Self {
        Self(syslog)
    }
}

impl Witness {
    /// Lets the first frontend log here.
    pub(crate) async fn of(config: &mut Config) -> Self {
        let syslog = Syslog::start().await;
        syslog.receive_from(config);
        Self(syslog)
    }

    /// The status and the letters of the next exchange that ended: who ended it, and where.
    pub(crate) async fn says(&self) -> String {
        let line = self.0.line().await;
        let words: Vec<_> = line.split(' ').collect();
        format!("{} {}", words[3], words[7])
    }
}
