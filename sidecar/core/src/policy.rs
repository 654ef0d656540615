//! Who may do what, where. One function, so that there is one place to read.

use crate::ids::Namespace;

/// The process at the other end of the socket, as the kernel reports it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Caller {
    /// Effective user id when it connected.
    pub uid: u32,
    /// Effective group id when it connected.
    pub gid: u32,
    /// Process id, where the platform tells it.
    pub pid: Option<i32>,
}

/// What a caller can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Seal and store a value.
    Tokenize,
    /// Reveal a value.
    Detokenize,
    /// Read or replace a token's metadata.
    Metadata,
    /// Replace a token's record by a tombstone.
    Delete,
    /// Remove what has expired.
    Sweep,
    /// Ask how the sidecar is.
    Status,
}

/// The rules in force.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The sidecar's own user: with no clients declared, only it may call.
    pub own_uid: u32,
}

impl Policy {
    /// Whether `caller` may perform `operation` in `namespace`.
    pub fn may(&self, caller: &Caller, _operation: Operation, _namespace: &Namespace) -> bool {
        caller.uid == self.own_uid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_clients_only_the_own_user_may_call() {
        let policy = Policy { own_uid: 1000 };
        let caller = |uid| Caller { uid, gid: 1000, pid: None };
        let namespace = Namespace::default();
        assert!(policy.may(&caller(1000), Operation::Detokenize, &namespace));
        for other in [0, 999, 1001] {
            assert!(!policy.may(&caller(other), Operation::Tokenize, &namespace));
        }
    }
}
