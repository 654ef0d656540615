//! Calls that a sidecar makes, and with what arguments it never does.

use std::collections::BTreeMap;

use libc::*;
use seccompiler::{
    BackendError, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompRule,
};

/// What it speaks over: its own socket and its dependencies. The kernel's table of addresses (`AF_NETLINK`) is not
/// among them: the look-up of a name reads it to put addresses in order, and does without.
const FAMILIES: [c_int; 3] = [AF_UNIX, AF_INET, AF_INET6];

/// How it speaks: whatever the family takes by itself, TCP, and UDP for name servers.
const PROTOCOLS: [c_int; 3] = [0, IPPROTO_TCP, IPPROTO_UDP];

/// Whose options are set.
const LEVELS: [c_int; 4] = [SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6];

/// Programs in the kernel, on a socket.
const PROGRAMS: [c_int; 4] =
    [SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF];

/// Not in every C library's list.
const IP_LOCAL_PORT_RANGE: c_int = 51;

/// To a file that is open. The others could have a signal sent to any process of the same user.
const OF_A_FILE: [c_int; 12] = [
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_GETFD,
    F_SETFD,
    F_GETFL,
    F_SETFL,
    F_GETLK,
    F_SETLK,
    F_SETLKW,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
];

/// To a device or a socket, whose type each C library has its own: not to wait, how much there is to read, to close at
/// an exec, whether it is a terminal, and which number an interface has, for an address with a zone.
const OF_A_DEVICE: [c_int; 8] = [
    0x5421, // FIONBIO
    0x541b, // FIONREAD
    0x5450, // FIONCLEX
    0x5451, // FIOCLEX
    0x5401, // TCGETS
    0x5413, // TIOCGWINSZ
    0x8933, // SIOCGIFINDEX
    TCGETS2,
];
const TCGETS2: c_int = 0x802c_542a_u32.cast_signed();

/// Of the process: names of threads and of memory, which C libraries give. What keeps others from tracing it stays.
const OF_THE_PROCESS: [c_int; 5] =
    [PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_GET_DUMPABLE, PR_SET_NO_NEW_PRIVS];

/// Bits of a mode by which a program has the rights of its owner or group, or a directory is everybody's.
const SPECIAL: [c_int; 3] = [0o4000, 0o2000, 0o1000];

/// The rules of each call.
pub(super) fn refused() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut refused = Refused::default();
    sockets(&mut refused)?;
    files(&mut refused)?;
    memory(&mut refused)?;
    processes(&mut refused)?;
    Ok(refused.0)
}

fn sockets(refused: &mut Refused) -> Result<(), BackendError> {
    refused.when(SYS_socket, &none_of(0, &FAMILIES))?;
    refused.when(SYS_socketpair, &[is_not(0, AF_UNIX)])?;
    for call in [SYS_socket, SYS_socketpair] {
        refused.when(call, &none_of(2, &PROTOCOLS))?;
        // Streams and datagrams are 1 and 2; beside them lie flags.
        refused.when(call, &[masked(1, 0b11, 0b11)])?;
        for bit in [0b100, 0b1000] {
            refused.when(call, &[has(1, bit)])?;
        }
    }
    refused.when(SYS_setsockopt, &none_of(1, &LEVELS))?;
    for program in PROGRAMS {
        refused.when(SYS_setsockopt, &[is(1, SOL_SOCKET), is(2, program)])?;
    }
    // Which port the kernel picks.
    refused.when(SYS_setsockopt, &[is(1, IPPROTO_IP), is(2, IP_LOCAL_PORT_RANGE)])?;
    // A protocol of the kernel's on top of the stream: TLS is ours.
    refused.when(SYS_setsockopt, &[is(1, IPPROTO_TCP), is(2, TCP_ULP)])
}

fn files(refused: &mut Refused) -> Result<(), BackendError> {
    let modes = [
        (SYS_openat, 3),
        (SYS_mkdirat, 2),
        (SYS_fchmod, 1),
        (SYS_fchmodat, 2),
        (super::FCHMODAT2, 2),
        #[cfg(target_arch = "x86_64")]
        (SYS_open, 2),
        #[cfg(target_arch = "x86_64")]
        (SYS_creat, 1),
        #[cfg(target_arch = "x86_64")]
        (SYS_mkdir, 1),
        #[cfg(target_arch = "x86_64")]
        (SYS_chmod, 1),
    ];
    for (call, mode) in modes {
        for bit in SPECIAL {
            refused.when(call, &[has(mode, bit)])?;
        }
    }
    // A file that is only read is not emptied: Landlock knows that since its third version.
    refused.when(SYS_openat, &[masked(2, O_ACCMODE | O_TRUNC, O_TRUNC)])?;
    #[cfg(target_arch = "x86_64")]
    refused.when(SYS_open, &[masked(1, O_ACCMODE | O_TRUNC, O_TRUNC)])?;
    // Given to a group, and to nobody.
    refused.when(SYS_fchownat, &[is_not(2, -1)])?;
    #[cfg(target_arch = "x86_64")]
    refused.when(SYS_chown, &[is_not(1, -1)])?;
    refused.when(SYS_fcntl, &none_of(1, &OF_A_FILE))?;
    refused.when(SYS_fcntl, &[is(1, F_SETFL), has(2, O_ASYNC)])?;
    refused.when(SYS_ioctl, &none_of(1, &OF_A_DEVICE))
}

/// What is written is not run. Modules of a C library are files that are mapped to be run, which goes on.
fn memory(refused: &mut Refused) -> Result<(), BackendError> {
    refused.when(SYS_mmap, &[has(2, PROT_WRITE | PROT_EXEC)])?;
    refused.when(SYS_mmap, &[has(2, PROT_EXEC), has(3, MAP_ANONYMOUS)])?;
    refused.when(SYS_mprotect, &[has(2, PROT_EXEC)])
}

/// Each for itself: Landlock keeps signals from others since its sixth version, and nothing else of it.
fn processes(refused: &mut Refused) -> Result<(), BackendError> {
    // A thread, not a process.
    refused.when(SYS_clone, &[masked(0, CLONE_THREAD, 0)])?;
    refused.when(SYS_tgkill, &[is_not(0, std::process::id().cast_signed())])?;
    refused.when(SYS_prlimit64, &[is_not(0, 0)])?;
    refused.when(SYS_prctl, &none_of(0, &OF_THE_PROCESS))
}

#[derive(Default)]
struct Refused(BTreeMap<i64, Vec<SeccompRule>>);

impl Refused {
    /// Refuses a call where all of this is so. Of each argument the lower half counts, as it does to the kernel.
    fn when(&mut self, call: c_long, all: &[If]) -> Result<(), BackendError> {
        let condition = |If(argument, operator, value): &If| {
            let value = u64::from(value.cast_unsigned());
            SeccompCondition::new(*argument, Dword, operator.clone(), value)
        };
        let conditions = all.iter().map(condition).collect::<Result<_, _>>()?;
        self.0.entry(call).or_default().push(SeccompRule::new(conditions)?);
        Ok(())
    }
}

/// An argument, counted from zero, and what of it.
struct If(u8, SeccompCmpOp, c_int);

fn is(argument: u8, value: c_int) -> If {
    If(argument, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: c_int) -> If {
    If(argument, SeccompCmpOp::Ne, value)
}

fn masked(argument: u8, mask: c_int, value: c_int) -> If {
    If(argument, SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned())), value)
}

fn has(argument: u8, bits: c_int) -> If {
    masked(argument, bits, bits)
}

fn none_of(argument: u8, values: &[c_int]) -> Vec<If> {
    values.iter().map(|value| is_not(argument, *value)).collect()
}
