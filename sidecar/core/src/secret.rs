//! Secrets in memory: zeroized when dropped, and redacted wherever they are printed.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A 256-bit key: a namespace's data key or index key, or a local wrapping key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; DataKey::LEN]);

impl DataKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// Takes the bytes over; the caller's copy is wiped.
    pub fn take(bytes: &mut [u8; Self::LEN]) -> Self {
        let key = Self(*bytes);
        bytes.zeroize();
        key
    }

    /// Reads a key out of a slice of exactly the right length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The key itself, for the cipher and for wrapping only.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// A value in the clear.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// Takes a value over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value, for sealing and for the answer only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(…)")
    }
}

#[cfg(test)]
mod tests {
    use aes_gcm::Aes256Gcm;
    use sha2::Sha256;

    use super::*;
    use crate::{ids::Session, token::Token};

    fn wiped_when_dropped<T: ZeroizeOnDrop>() {}

    /// Does not compile once a type, or the cargo feature of a crate, stops wiping. HMAC and HKDF
    /// carry no such mark, but all that they hold is SHA-256 states.
    #[test]
    fn secrets_and_what_the_ciphers_make_of_them_are_wiped_when_dropped() {
        wiped_when_dropped::<DataKey>();
        wiped_when_dropped::<Zeroizing<Vec<u8>>>();
        wiped_when_dropped::<Token>();
        wiped_when_dropped::<Session>();
        wiped_when_dropped::<Aes256Gcm>();
        wiped_when_dropped::<Sha256>();
    }

    #[test]
    fn debug_shows_nothing() {
        let key = DataKey::take(&mut [0x41; 32]);
        assert_eq!(format!("{key:?}"), "DataKey(…)");
        assert_eq!(format!("{:?}", Plaintext::new(b"AAAA".to_vec())), "Plaintext(…)");
    }

    #[test]
    fn taking_a_key_wipes_the_source() {
        let mut source = [7; 32];
        let key = DataKey::take(&mut source);
        assert_eq!(source, [0; 32]);
        assert_eq!(key.expose(), &[7; 32]);
    }
}
