//! How many streams a server has at a time, where it changes its mind.

use tokio::sync::{mpsc::unbounded_channel, watch};

use super::{
    client::{self, Client},
    frames::*,
    peer, rig,
    server::{self, Connection},
};

/// One that allows fewer than are open serves those, and gets no further one until there are fewer.
#[tokio::test]
async fn server_that_allows_fewer_streams_than_before_gets_no_more() {
    let (order, ordered) = watch::channel("");
    let (tell, mut told) = unbounded_channel();
    let server = server::serving(setting(3, 3), move |mut connection: Connection| {
        let (mut ordered, tell) = (ordered.clone(), tell.clone());
        async move {
            let (mut open, mut most) = (Vec::new(), 3);
            ordered.mark_unchanged();
            loop {
                tokio::select! {
                    asked = connection.asked() => {
                        let Some(asked) = asked else { return };
                        open.push(asked.stream);
                        assert!(open.len() <= most, "{} at a time", open.len());
                        tell.send("asked").unwrap();
                    }
                    changed = ordered.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let order = *ordered.borrow_and_update();
                        if order == "allow one" {
                            most = 1;
                            connection.send(&frame(SETTINGS, 0, 0, &setting(3, 1))).await;
                            connection.send(&frame(PING, 0, 0, b"lowered!")).await;
                            while connection.frame().await.is_some_and(|frame| frame.payload != b"lowered!") {}
                            tell.send("it is known").unwrap();
                        } else {
                            for stream in open.drain(..) {
                                connection.answer(stream, b"held").await;
                            }
                        }
                    }
                }
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    let mut client = peer::apart(move || Client::begun(address)).await;
    let ask = |mut client: Client, streams: &'static [u32]| {
        peer::apart(move || {
            streams.iter().for_each(|stream| client.get(*stream, "/", &[]));
            client
        })
    };
    client = ask(client, &[1, 3, 5]).await;
    for _ in 0..3 {
        assert_eq!(told.recv().await, Some("asked"));
    }
    order.send("allow one").unwrap();
    assert_eq!(told.recv().await, Some("it is known"));
    let rounds: [(&[u32], &[u32]); 2] = [(&[7, 9], &[1, 3, 5, 7, 9]), (&[11, 13], &[11, 13])];
    for (asked, answered) in rounds {
        client = ask(client, asked).await;
        for _ in asked {
            assert_eq!(told.recv().await, Some("asked"));
        }
        order.send("answer").unwrap();
        client = peer::apart(move || {
            answered.iter().for_each(|stream| assert_eq!(client.answer(*stream).content, b"held"));
            client
        })
        .await;
    }
    assert_eq!(server.accepted(), 2);
}
