//! An HTTP client that sends exactly what it is told, and reads exactly what comes.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    thread,
};

use rustix::{
    net::{AddressFamily, SocketType, bind, connect, socket},
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use serde_json::Value;

use crate::sidecar::PATIENCE;

/// A connection.
pub struct Raw<S = UnixStream> {
    /// For tests that do unusual things to it.
    pub stream: S,
    /// Read, and not yet part of an answer.
    buffer: Vec<u8>,
}

/// Connects as another user and group, beside which it is in some other groups. Needs root.
pub fn stream_as(socket: &Path, uid: u32, gid: u32, groups: &[u32]) -> UnixStream {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    // Only this thread becomes someone else, and it ends with the connect.
    let connect = || {
        set_thread_groups(&groups).expect("only root can call as others: run these tests as root");
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        UnixStream::connect(socket).unwrap()
    };
    thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// Of the status line.
    pub status: u16,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// As many bytes as its length says.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The code of a problem, or of an item that is one.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or("none").to_owned()
    }
}

impl Raw<UnixStream> {
    /// Connects to a sidecar.
    pub fn connect(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).unwrap())
    }

    /// Speaks over a stream that is there.
    pub fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }
}

impl<S: Read + Write> Raw<S> {
    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends as much as the sidecar takes. Where it closes before the end, what it said can still be
    /// read.
    pub fn send_what_goes(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.send(bytes) {
            let gone =
                matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
            assert!(gone, "the sidecar hangs: {error}");
        }
    }

    /// A POST with a JSON body.
    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &[], body.to_string().as_bytes())
    }

    /// A POST with more headers and any body.
    pub fn post_with(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_post_with(path, headers, body).unwrap()
    }

    /// The same, for when the sidecar may be gone before it has answered.
    pub fn try_post_with(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        self.send(request(path, headers, body))?;
        self.answer()
    }

    /// The next answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let end = self.read_until_blank_line()?;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            self.fill()?;
        }
        let body = self.buffer.drain(..length).collect();
        let status = status.ok_or_else(|| io::Error::other(format!("no status in {head:?}")))?;
        Ok(Answer { status, headers, body })
    }

    /// The next answer, or none where the sidecar closes without one. Silence is a failure.
    pub fn answer_or_close(&mut self) -> Option<Answer> {
        match self.answer() {
            Ok(answer) => Some(answer),
            Err(error) if is_close(&error) => None,
            Err(error) => panic!("neither an answer nor a close: {error}"),
        }
    }

    /// Whether the sidecar has closed its side, with nothing more to read.
    pub fn closed(&mut self) -> bool {
        assert!(self.buffer.is_empty(), "unread: {:?}", String::from_utf8_lossy(&self.buffer));
        match self.fill() {
            Ok(()) => false,
            Err(error) => is_close(&error),
        }
    }

    fn read_until_blank_line(&mut self) -> io::Result<usize> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(end);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.buffer.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// A request's head, blank line and all.
pub fn head(method: &str, path: &str, headers: &[(impl AsRef<str>, impl AsRef<str>)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{}: {}\r\n", name.as_ref(), value.as_ref()));
    }
    head.push_str("\r\n");
    head
}

/// The bytes of a POST.
pub fn request(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n");
    let mut set = |name: &str, value: &str| {
        request.push_str(&format!("{name}: {value}\r\n"));
    };
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        set("content-type", "application/json");
    }
    if !headers.iter().any(|(name, _)| matches!(*name, "content-length" | "transfer-encoding")) {
        set("content-length", &body.len().to_string());
    }
    for (name, value) in headers {
        set(name, value);
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

/// A connection to the admin listener.
pub fn connect_tcp(address: &str) -> Raw<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Raw { stream, buffer: Vec::new() }
}

/// The same, from another address.
pub fn connect_tcp_from(from: [u8; 4], address: &str) -> Raw<TcpStream> {
    let (from, to) = (SocketAddr::from((from, 0)), address.parse::<SocketAddr>().unwrap());
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &from).unwrap();
    connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Raw { stream, buffer: Vec::new() }
}

/// A GET on the admin listener.
pub fn get_tcp(address: &str, path: &str) -> Answer {
    let mut raw = connect_tcp(address);
    raw.send(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"))
        .unwrap();
    raw.answer().unwrap()
}
