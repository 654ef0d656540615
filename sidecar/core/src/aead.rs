//! AES-256-GCM (NIST SP 800-38D) with a 96-bit nonce, in place. The one seam to the cipher.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use thiserror::Error;

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of the authentication tag.
pub const TAG_LEN: usize = 16;

/// The ciphertext, its tag, the nonce or the associated data are not what was sealed.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("authentication failed")]
pub struct Rejected;

/// Encrypts `buffer` in place and returns the tag.
pub fn encrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_LEN],
    associated: &[u8],
    buffer: &mut [u8],
) -> Result<[u8; TAG_LEN], Rejected> {
    let cipher = Aes256Gcm::new(key.into());
    // Fails only for more than 64 GiB, far above every limit.
    let tag = cipher
        .encrypt_inout_detached(nonce.into(), associated, buffer.into())
        .map_err(|_| Rejected)?;
    Ok(tag.into())
}

/// Decrypts `buffer` in place; leaves it as it was when the tag does not fit.
pub fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_LEN],
    associated: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), Rejected> {
    let cipher = Aes256Gcm::new(key.into());
    cipher
        .decrypt_inout_detached(nonce.into(), associated, buffer.into(), tag.into())
        .map_err(|_| Rejected)
}
