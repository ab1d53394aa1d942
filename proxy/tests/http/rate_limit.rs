//! Requests that are refused because their like comes too often.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use lb_proxy::{
    Proxy,
    rules::{Action, Condition, LimitedBy, RateLimit, Rule},
    table::Rate,
};

use crate::{
    peers::*,
    rig::{connect, counter},
};

#[tokio::test]
async fn limit_is_one_for_all_workers_and_connections() {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    config.threads = NonZeroUsize::new(3).unwrap();
    let rate = Rate { count: NonZeroU32::new(7).unwrap(), per: Duration::from_secs(43_200) };
    let limit = RateLimit::new(LimitedBy::Source, rate, NonZeroU32::new(10).unwrap(), 64, 429);
    config.frontends[0].rules = vec![Rule { when: Condition::ALWAYS, then: vec![Action::RateLimit(limit)] }];
    let proxy = Proxy::start(config).unwrap();
    let (mut served, mut refused) = (0, 0);
    for _ in 0..20 {
        let mut client = connect(&proxy).await;
        for _ in 0..2 {
            let answer = ask(&mut client, GET).await;
            if answer == OK {
                served += 1;
                continue;
            }
            refused += 1;
            assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
            assert!(
                answer.contains("\r\nRetry-After: ") && !answer.contains("Connection: close"),
                "{answer}"
            );
        }
    }
    assert_eq!((served, refused), (7, 33));
    assert_eq!(counter(&proxy, "rate_limited_total"), 33);
    assert_eq!(upstream.requests().len(), 7);
    let tables = proxy.status().tables;
    assert_eq!(tables.len(), 1);
    assert_eq!(
        (tables[0].name.as_str(), tables[0].entries, tables[0].size),
        ("frontend front, rate_limit by source in 43200s", 1, 10)
    );
}
