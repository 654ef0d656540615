//! Passes connections on: what a test takes away so that storage keeps what it has and nobody reaches it.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    select,
};

use crate::{Outcome, stopped};

pub(crate) async fn run(listen: &str, target: &str) -> Outcome {
    let listener = TcpListener::bind(listen).await?;
    let accepting = async {
        loop {
            let (mut from, _) = listener.accept().await?;
            let target = target.to_owned();
            tokio::spawn(async move {
                if let Ok(mut to) = TcpStream::connect(&target).await {
                    // Either end may go at any time; there is nobody to tell.
                    let _ = copy_bidirectional(&mut from, &mut to).await;
                }
            });
        }
    };
    select! {
        ended = accepting => ended,
        ended = stopped() => ended,
    }
}
