//! Confines itself as a sidecar with the configuration of its first argument does, and then tries, in another thread,
//! what whoever took a sidecar over would like to do: some of it as it starts, and all of it once it serves, when that
//! thread is there already. A line for each says what came of it: `ok`, or the kernel's error.
//! The second argument is a directory that the configuration does not name.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a part of a test"
)]

use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    io,
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt, chown, symlink},
        net::UnixListener,
        process::CommandExt,
    },
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
};

use lunasec_sidecar::{
    config::Config,
    sandbox::{self, Places},
};
use rustix::{
    fs::{
        AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, mkfifoat, openat, utimensat,
    },
    mount::{UnmountFlags, unmount},
    net::{AddressFamily, Protocol, SocketType, connect, ipproto, listen, netlink, send, socket},
    process::{Resource, chroot, getegid, geteuid, getppid, getrlimit, prlimit, test_kill_process},
    system::sethostname,
    thread::{CapabilitySet, capabilities, set_thread_gid, set_thread_uid},
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (file, outside) = (arguments.next().unwrap(), arguments.next().unwrap());
    let config = Config::parse(&fs::read_to_string(&file).unwrap(), &[]).unwrap();
    let places = Places::of(&config).and_machine(&config).and_file(Path::new(&file));
    let state = config.degrade.state_dir.clone().unwrap();
    // Nobody in it can make one any more.
    symlink(Path::new(&outside).join("secret"), state.join("link")).unwrap();
    let sandbox = sandbox::confine(&config, &places, false).expect("nothing is required");
    println!("landlock {}", sandbox.landlock.clone().unwrap_or_default());
    let (serves, wait) = mpsc::channel::<()>();
    let (starts, started) = mpsc::channel();
    let tries = thread::spawn(move || {
        as_it_starts(&state);
        starts.send(()).unwrap();
        wait.recv().unwrap();
        try_everything(Path::new(&file), Path::new(&outside), &state);
    });
    started.recv().unwrap();
    sandbox.end_of_start().unwrap();
    serves.send(()).unwrap();
    tries.join().unwrap();
}

fn say(what: &str, result: Result<(), impl Error>) {
    match result {
        Ok(()) => println!("{what}: ok"),
        Err(error) => println!("{what}: {error}"),
    }
}

fn try_everything(config: &Path, outside: &Path, state: &Path) {
    allowed(config, state);
    files(outside, state);
    modes(state);
    sockets();
    rights();
    others();
    // Last: what works takes this process's place.
    say("run a program", Command::new("/bin/true").status().map(|_| ()));
    let error = Command::new("/bin/echo").arg("become a program: ok").exec();
    say("become a program", Err::<(), _>(error));
}

/// What a sidecar makes its socket with, and what goes beyond that.
fn as_it_starts(state: &Path) {
    let socket = state.join("socket");
    say("allowed, listen on its socket", UnixListener::bind(&socket).map(|_| ()));
    let mode = |mode| fs::set_permissions(&socket, fs::Permissions::from_mode(mode));
    say("allowed, let a group in", mode(0o660));
    say("allowed, give the socket to a group", chown(&socket, None, Some(getegid().as_raw())));
    say("let a program have its owner's rights as it starts", mode(0o4755));
    say("let a program have its group's rights as it starts", mode(0o2755));
    say("give a file away as it starts", chown(&socket, Some(geteuid().as_raw()), None));
    say("listen on a port as it starts", TcpListener::bind("127.0.0.1:0").map(|_| ()));
}

fn allowed(config: &Path, state: &Path) {
    say("allowed, read the configuration", File::open(config).map(|_| ()));
    say("allowed, write state", fs::write(state.join("file"), "x"));
    say("allowed, rename state", fs::rename(state.join("file"), state.join("other")));
    say("allowed, list state", fs::read_dir(state).map(|_| ()));
    say("allowed, look up a name", ("localhost", 1).to_socket_addrs().map(|_| ()));
    say(
        "allowed, speak UDP",
        socket(AddressFamily::INET, SocketType::DGRAM, None).and_then(|socket| {
            connect(&socket, &SocketAddr::from(([127, 0, 0, 1], 53)))?;
            send(&socket, b"x", rustix::net::SendFlags::empty()).map(|_| ())
        }),
    );
    // Nobody listens there: it was tried.
    let refused = TcpStream::connect("127.0.0.1:1").unwrap_err().kind();
    say(
        "allowed, speak TCP",
        match refused {
            io::ErrorKind::ConnectionRefused => Ok(()),
            other => Err(io::Error::from(other)),
        },
    );
    say("allowed, start a thread", thread::Builder::new().spawn(|| ()).map(|_| ()));
}

fn files(outside: &Path, state: &Path) {
    let secret = outside.join("secret");
    say("read a file", fs::read(&secret).map(|_| ()));
    say("write a file", OpenOptions::new().write(true).open(&secret).map(|_| ()));
    say("make a file", fs::write(outside.join("new"), "x"));
    say("list a directory", fs::read_dir(outside).map(|_| ()));
    say("make a directory", fs::create_dir(outside.join("directory")));
    say("read a file by a link", fs::read(state.join("link")).map(|_| ()));
    say(
        "read a file by its process",
        fs::read(Path::new("/proc/self/root").join(secret.strip_prefix("/").unwrap())).map(|_| ()),
    );
    say("bring a file in", fs::rename(&secret, state.join("secret")));
    say(
        "read another process's files",
        fs::read_dir(format!("/proc/{}/fd", getppid().unwrap().as_raw_nonzero())).map(|_| ()),
    );
    say("make a pipe", mkfifoat(CWD, state.join("pipe"), Mode::RWXU));
    let read_only = state.parent().unwrap().join("lunasec.toml");
    let emptied = openat(CWD, read_only, OFlags::RDONLY | OFlags::TRUNC, Mode::empty());
    say("empty a file that it reads", emptied.map(|_| ()));
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let now = Timestamps { last_access: now, last_modification: now };
    say("change when a file was written", utimensat(CWD, outside, &now, AtFlags::empty()));
    say("open a disk or a terminal", OpenOptions::new().write(true).open("/dev/ptmx").map(|_| ()));
}

/// Of its own files: what it could do with them, it could do with those of others that its user owns.
fn modes(state: &Path) {
    let file = state.join("other");
    let made = |name: &str, mode| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode).open(state.join(name)).map(|_| ())
    };
    say("allowed, make a file of a mode", made("private", 0o600));
    say("make a program with its owner's rights", made("owners", 0o4755));
    say("make a program with its group's rights", made("groups", 0o2755));
    let opened = File::open(&file).unwrap();
    let mode = |mode| fs::Permissions::from_mode(mode);
    say("let a program have its owner's rights", fs::set_permissions(&file, mode(0o4755)));
    say("change a mode", fs::set_permissions(&file, mode(0o666)));
    say("change the mode of an open file", opened.set_permissions(mode(0o666)));
    say("give a file to a group", chown(&file, None, Some(getegid().as_raw())));
}

fn sockets() {
    let raw = |family, kind, protocol: Option<Protocol>| socket(family, kind, protocol).map(|_| ());
    say("speak over packets", raw(AddressFamily::PACKET, SocketType::DGRAM, None));
    say(
        "speak to the kernel's devices",
        raw(AddressFamily::NETLINK, SocketType::DGRAM, Some(netlink::KOBJECT_UEVENT)),
    );
    say("speak raw IP", raw(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)));
    say("ask for the kernel's addresses", raw(AddressFamily::NETLINK, SocketType::RAW, None));
    // Not every kernel has these.
    say(
        "maybe, speak to the host of a machine",
        raw(AddressFamily::VSOCK, SocketType::STREAM, None),
    );
    say("maybe, speak to a cipher", raw(AddressFamily::from_raw(38), SocketType::SEQPACKET, None));
    say(
        "maybe, speak TCP over many paths",
        raw(AddressFamily::INET, SocketType::STREAM, Some(ipproto::MPTCP)),
    );
    say("listen on a port", TcpListener::bind("127.0.0.1:0").map(|_| ()));
    say("take a port of UDP", UdpSocket::bind("127.0.0.1:0").map(|_| ()));
    let unbound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    say("listen on any port and address", listen(&unbound, 1));
    let unbound = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
    say("listen on any port and address of IPv6", listen(&unbound, 1));
}

fn rights() {
    let all = capabilities(None).unwrap();
    let none = (all.permitted | all.effective | all.inheritable) == CapabilitySet::empty();
    say("be root", if none { Err(io::Error::other("no capabilities")) } else { Ok(()) });
    say("reach another process", test_kill_process(getppid().unwrap()));
    say("become another user", set_thread_gid(getegid()).and_then(|()| set_thread_uid(geteuid())));
    say("have another root", chroot("/"));
    say("name the machine", {
        let name = rustix::system::uname().nodename().to_bytes().to_vec();
        sethostname(&name)
    });
    // Allowed, it finds nothing mounted there.
    let unmounted = unmount("/proc/self", UnmountFlags::empty());
    say(
        "unmount",
        match unmounted {
            Err(rustix::io::Errno::INVAL) => Ok(()),
            other => other,
        },
    );
    say(
        "run from memory",
        rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).map(|_| ()),
    );
}

/// To whoever started this, without harm: it has the same limits.
fn others() {
    let same = getrlimit(Resource::Nproc);
    say("limit another process", prlimit(getppid(), Resource::Nproc, same).map(|_| ()));
}
