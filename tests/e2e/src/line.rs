//! A line to a server that can be cut, as networks are.

use anyhow::{Context, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Listens on a port of its own and hands everything on. Ends when dropped.
#[derive(Debug)]
pub struct Line {
    /// The server's address, by this line.
    pub url: String,
    up: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Line {
    /// A line to the server at this address, such as `http://127.0.0.1:4000`.
    pub async fn to(url: &str) -> Result<Self> {
        let server = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("opening a line")?;
        let url = format!("http://{}", listener.local_addr().context("opening a line")?);
        let (up, is_up) = watch::channel(true);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), is_up.clone()));
            }
        });
        Ok(Self { url, up, accepting })
    }

    /// Ends all connections; new ones end at once until it is mended.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.up.send_replace(true);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, server: String, mut up: watch::Receiver<bool>) {
    let carrying = async {
        if let Ok(mut server) = TcpStream::connect(server).await {
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    };
    tokio::select! {
        biased;
        _ = up.wait_for(|up| !up) => {}
        () = carrying => {}
    }
}
