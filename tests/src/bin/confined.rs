//! Confines itself as a sidecar with the configuration of its first argument does, and then tries, in another thread,
//! what whoever took a sidecar over would like to do. A line for each says what came of it: `ok`, or the kernel's error.
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
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    os::unix::{fs::symlink, process::CommandExt},
    path::Path,
    process::Command,
    thread,
};

use lunasec_sidecar::{
    config::Config,
    sandbox::{self, Places},
};
use rustix::{
    fs::{Mode, mkfifoat},
    mount::{UnmountFlags, unmount},
    net::{AddressFamily, Protocol, SocketType, netlink, socket},
    process::{chroot, getppid, test_kill_process},
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
    println!("landlock {}", sandbox.landlock.unwrap_or_default());
    thread::spawn(move || try_everything(Path::new(&file), Path::new(&outside), &state))
        .join()
        .unwrap();
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
    sockets();
    rights();
    // Last: what works takes this process's place.
    say("run a program", Command::new("/bin/true").status().map(|_| ()));
    let error = Command::new("/bin/echo").arg("become a program: ok").exec();
    say("become a program", Err::<(), _>(error));
}

fn allowed(config: &Path, state: &Path) {
    say("allowed, read the configuration", File::open(config).map(|_| ()));
    say("allowed, write state", fs::write(state.join("file"), "x"));
    say("allowed, rename state", fs::rename(state.join("file"), state.join("other")));
    say("allowed, list state", fs::read_dir(state).map(|_| ()));
    say("allowed, look up a name", ("localhost", 1).to_socket_addrs().map(|_| ()));
    say("allowed, speak UDP", UdpSocket::bind("127.0.0.1:0").map(|_| ()));
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
    say("make a pipe", mkfifoat(rustix::fs::CWD, state.join("pipe"), Mode::RWXU));
    say("open a disk or a terminal", OpenOptions::new().write(true).open("/dev/ptmx").map(|_| ()));
}

fn sockets() {
    let raw = |family, kind, protocol: Option<Protocol>| socket(family, kind, protocol).map(|_| ());
    say("speak over packets", raw(AddressFamily::PACKET, SocketType::DGRAM, None));
    say(
        "speak to the kernel's devices",
        raw(AddressFamily::NETLINK, SocketType::DGRAM, Some(netlink::KOBJECT_UEVENT)),
    );
    say(
        "speak raw IP",
        raw(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::ICMP)),
    );
    say("allowed, ask for addresses", raw(AddressFamily::NETLINK, SocketType::RAW, None));
    // Not every kernel has these.
    say(
        "maybe, speak to the host of a machine",
        raw(AddressFamily::VSOCK, SocketType::STREAM, None),
    );
    say("maybe, speak to a cipher", raw(AddressFamily::from_raw(38), SocketType::SEQPACKET, None));
    say("listen", TcpListener::bind("127.0.0.1:0").map(|_| ()));
}

fn rights() {
    let all = capabilities(None).unwrap();
    let none = (all.permitted | all.effective | all.inheritable) == CapabilitySet::empty();
    say("be root", if none { Err(io::Error::other("no capabilities")) } else { Ok(()) });
    say("reach another process", test_kill_process(getppid().unwrap()));
    say(
        "become another user",
        set_thread_gid(rustix::process::getegid())
            .and_then(|()| set_thread_uid(rustix::process::geteuid())),
    );
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
