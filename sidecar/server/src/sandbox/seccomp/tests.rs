use std::{collections::BTreeSet, process};

use super::*;

#[test]
fn nothing_is_both_called_and_never_done() {
    let called: BTreeSet<_> = [CALLED, CALLED_HERE].concat().into_iter().collect();
    let never: BTreeSet<_> = [NEVER, NEVER_HERE].concat().into_iter().collect();
    assert_eq!(called.intersection(&never).count(), 0);
    assert_eq!(called.len(), CALLED.len() + CALLED_HERE.len(), "one is there twice");
    assert!(!called.contains(&SYS_clone3), "nobody sees what it starts");
    assert!(!called.contains(&SYS_openat2), "nobody sees what it opens");
    let of_the_start: BTreeSet<_> = ONCE.iter().copied().collect();
    assert!(of_the_start.is_subset(&called), "one is refused from the beginning");
}

#[test]
fn the_filters_are_as_small_as_the_kernel_wants_them() {
    for filter in filters().unwrap() {
        assert!((1..4096).contains(&filter.len()), "{}", filter.len());
    }
}

/// What the kernel makes of a call: it runs each filter, and of their answers that of the latest that has one.
fn answer(filters: &[BpfProgram], call: c_long, arguments: &[i64]) -> Option<c_int> {
    let mut data = Vec::new();
    data.extend(u32::try_from(call).unwrap().to_ne_bytes());
    let machine: u32 = match std::env::consts::ARCH {
        "x86_64" => 0xc000_003e,
        "aarch64" => 0xc000_00b7,
        other => panic!("the number of {other} is not known here"),
    };
    data.extend(machine.to_ne_bytes());
    data.extend([0; 8]);
    for at in 0..6 {
        data.extend(arguments.get(at).copied().unwrap_or_default().to_ne_bytes());
    }
    let answers = filters.iter().rev().map(|filter| run(filter, &data));
    answers.into_iter().find_map(|answer| match answer {
        0x7fff_0000 => None,
        errno if errno & 0xffff_0000 == 0x0005_0000 => Some((errno & 0xffff).cast_signed()),
        other => panic!("{other:#x} is none of the answers"),
    })
}

/// A filter, run as the kernel does.
fn run(filter: &BpfProgram, data: &[u8]) -> u32 {
    let (mut at, mut value) = (0, 0_u32);
    loop {
        let step = &filter[at];
        let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
        at += 1;
        match step.code {
            // Load a word, AND, return, jump: always, if equal, greater, greater or equal.
            0x20 => {
                let from = usize::try_from(step.k).unwrap();
                value = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x54 => value &= step.k,
            0x06 => return step.k,
            0x05 => at += usize::try_from(step.k).unwrap(),
            0x15 => at += jump(value == step.k),
            0x25 => at += jump(value > step.k),
            0x35 => at += jump(value >= step.k),
            other => panic!("{other:#x} is no step of a filter"),
        }
    }
}

/// Calls, and their arguments.
type Calls<'a> = &'a [(c_long, &'a [i64])];

fn expect(filters: &[BpfProgram], calls: Calls<'_>, expected: Option<c_int>) {
    for (call, arguments) in calls {
        let came = answer(filters, *call, arguments);
        assert_eq!(came, expected, "call {call} with {arguments:x?}");
    }
}

fn of(number: impl Into<i64>) -> i64 {
    number.into()
}

#[test]
fn what_a_sidecar_and_its_libraries_do_is_allowed_to_the_end() {
    let own = of(process::id());
    let stream = of(SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
    let datagram = of(SOCK_DGRAM | SOCK_CLOEXEC);
    let calls: Calls<'_> = &[
        (SYS_socket, &[of(AF_UNIX), stream, 0]),
        (SYS_socket, &[of(AF_INET), stream, of(IPPROTO_TCP)]),
        (SYS_socket, &[of(AF_INET6), datagram, of(IPPROTO_UDP)]),
        (SYS_socket, &[of(AF_INET), datagram, 0]),
        (SYS_socketpair, &[of(AF_UNIX), stream, 0]),
        (SYS_setsockopt, &[3, of(SOL_SOCKET), of(SO_KEEPALIVE)]),
        (SYS_setsockopt, &[3, of(IPPROTO_TCP), of(TCP_NODELAY)]),
        (SYS_setsockopt, &[3, of(IPPROTO_IP), of(IP_RECVERR)]),
        (SYS_setsockopt, &[3, of(IPPROTO_IPV6), of(IPV6_RECVERR)]),
        (SYS_openat, &[0, 0, of(O_RDWR | O_CREAT | O_TRUNC), 0o666]),
        (SYS_openat, &[0, 0, of(O_WRONLY | O_TRUNC), 0]),
        (SYS_openat, &[0, 0, of(O_RDONLY | O_CLOEXEC), 0o666]),
        (SYS_mkdirat, &[0, 0, 0o700]),
        (SYS_fcntl, &[3, of(F_SETFL), of(O_NONBLOCK)]),
        (SYS_fcntl, &[3, of(F_OFD_SETLK)]),
        (SYS_ioctl, &[3, 0x5421]),
        (SYS_ioctl, &[3, 0x802c_542a]),
        (SYS_mmap, &[0, 4096, of(PROT_READ | PROT_EXEC), of(MAP_PRIVATE)]),
        (SYS_mmap, &[0, 4096, of(PROT_READ | PROT_WRITE), of(MAP_PRIVATE | MAP_ANONYMOUS)]),
        (SYS_mprotect, &[0, 4096, of(PROT_READ | PROT_WRITE)]),
        // As a C library starts a thread.
        (SYS_clone, &[0x3d_0f00]),
        (SYS_tgkill, &[own, own + 1, of(SIGABRT)]),
        (SYS_prlimit64, &[0, of(RLIMIT_NOFILE.cast_signed())]),
        (SYS_sched_getaffinity, &[own]),
        (SYS_prctl, &[of(PR_SET_NAME)]),
    ];
    expect(&filters().unwrap(), calls, None);
}

#[test]
fn arguments_that_give_more_than_a_sidecar_needs_are_refused() {
    let (own, stream) = (of(process::id()), of(SOCK_STREAM | SOCK_CLOEXEC));
    let refused: Calls<'_> = &[
        // Multipath TCP, which Landlock's ports do not know; SCTP, by its name and by its kind; ping; packets.
        (SYS_socket, &[of(AF_INET), stream, 262]),
        (SYS_socket, &[of(AF_INET), stream, 132]),
        (SYS_socket, &[of(AF_INET6), of(SOCK_SEQPACKET), 0]),
        (SYS_socket, &[of(AF_INET), 6, 0]),
        (SYS_socket, &[of(AF_INET), of(SOCK_DGRAM), of(IPPROTO_ICMP)]),
        (SYS_socket, &[of(AF_INET), of(SOCK_RAW), of(IPPROTO_UDP)]),
        (SYS_socket, &[of(AF_PACKET), of(SOCK_DGRAM), 0]),
        (SYS_socket, &[of(AF_NETLINK), of(SOCK_RAW), 0]),
        (SYS_socketpair, &[30, stream, 0]),
        (SYS_setsockopt, &[3, of(SOL_SOCKET), of(SO_ATTACH_FILTER)]),
        (SYS_setsockopt, &[3, of(IPPROTO_TCP), of(TCP_ULP)]),
        (SYS_setsockopt, &[3, of(IPPROTO_IP), 51]),
        (SYS_setsockopt, &[3, of(SOL_UDP), 1]),
        (SYS_openat, &[0, 0, of(O_WRONLY | O_CREAT), 0o4755]),
        (SYS_openat, &[0, 0, of(O_WRONLY | O_CREAT), 0o2755]),
        (SYS_openat, &[0, 0, of(O_RDONLY | O_TRUNC), 0]),
        (SYS_mkdirat, &[0, 0, 0o1777]),
        (SYS_fchmod, &[3, 0o4755]),
        (SYS_fchmodat, &[0, 0, 0o2755]),
        (FCHMODAT2, &[0, 0, 0o4755]),
        (SYS_fchownat, &[0, 0, 0, 0]),
        // Owners of a descriptor, of either kind, and the signal that they get.
        (SYS_fcntl, &[3, 8, 1]),
        (SYS_fcntl, &[3, 15, 0]),
        (SYS_fcntl, &[3, 10, of(SIGKILL)]),
        (SYS_fcntl, &[3, of(F_SETFL), of(O_ASYNC)]),
        // Typed into a terminal, pasted into it, and the owner again.
        (SYS_ioctl, &[0, 0x5412]),
        (SYS_ioctl, &[0, 0x541c]),
        (SYS_ioctl, &[3, 0x8901]),
        (SYS_mmap, &[0, 4096, of(PROT_READ | PROT_WRITE | PROT_EXEC), of(MAP_PRIVATE)]),
        (SYS_mmap, &[0, 4096, of(PROT_READ | PROT_EXEC), of(MAP_PRIVATE | MAP_ANONYMOUS)]),
        (SYS_mprotect, &[0, 4096, of(PROT_READ | PROT_EXEC)]),
        (SYS_clone, &[0x0120_0011]),
        (SYS_tgkill, &[own + 1, own + 1, of(SIGKILL)]),
        (SYS_prlimit64, &[own + 1, 0]),
        (SYS_prctl, &[of(PR_SET_DUMPABLE), 1]),
        (SYS_prctl, &[of(PR_SET_PTRACER), -1]),
        (SYS_kill, &[own + 1, of(SIGKILL)]),
        #[cfg(target_arch = "x86_64")]
        (SYS_open, &[0, of(O_RDONLY | O_TRUNC)]),
        #[cfg(target_arch = "x86_64")]
        (SYS_open, &[0, of(O_WRONLY | O_CREAT), 0o4755]),
        #[cfg(target_arch = "x86_64")]
        (SYS_creat, &[0, 0o4755]),
        #[cfg(target_arch = "x86_64")]
        (SYS_chmod, &[0, 0o4755]),
        #[cfg(target_arch = "x86_64")]
        (SYS_chown, &[0, 0, 0]),
    ];
    let unknown: Calls<'_> = &[
        (SYS_tkill, &[own + 1, of(SIGKILL)]),
        (SYS_utimensat, &[]),
        (SYS_truncate, &[]),
        (SYS_sched_setaffinity, &[own + 1]),
        (SYS_splice, &[]),
        (SYS_openat2, &[]),
        (SYS_timer_create, &[]),
    ];
    let [called, never, _] = filters().unwrap();
    expect(&[called, never], refused, Some(EPERM));
    expect(&filters().unwrap(), unknown, Some(ENOSYS));
}

#[test]
fn what_only_the_start_does_is_refused_from_then_on() {
    let calls: Calls<'_> = &[
        (SYS_listen, &[3, 128]),
        (SYS_fchmod, &[3, 0o600]),
        (SYS_fchmodat, &[0, 0, 0o660]),
        (FCHMODAT2, &[0, 0, 0o660]),
        (SYS_fchownat, &[0, 0, -1, 7]),
        (SYS_seccomp, &[1]),
        #[cfg(target_env = "gnu")]
        (SYS_bind, &[3]),
        #[cfg(target_arch = "x86_64")]
        (SYS_chmod, &[0, 0o660]),
        #[cfg(target_arch = "x86_64")]
        (SYS_chown, &[0, -1, 7]),
    ];
    let [called, never, once] = filters().unwrap();
    expect(&[called.clone(), never.clone()], calls, None);
    expect(&[called, never, once], calls, Some(EPERM));
}
