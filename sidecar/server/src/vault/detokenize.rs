//! Detokenize: the record of a token, opened.

use futures_util::{Stream, StreamExt, stream};
use lunasec_api::Encoding;
use lunasec_core::{limits, policy::Operation, record::Kind, token::Token};
use zeroize::Zeroizing;

use super::{Call, Vault, tokenize::encoding_byte};
use crate::failure::Failure;

/// A value in the clear, wiped when dropped.
pub struct Revealed {
    sealed: Zeroizing<Vec<u8>>,
    /// How to write it in JSON.
    pub encoding: Encoding,
}

impl Revealed {
    /// The value, for the answer only.
    pub fn expose(&self) -> &[u8] {
        // The first byte is the encoding; see `new`.
        &self.sealed[1..]
    }

    fn new(sealed: Zeroizing<Vec<u8>>) -> Result<Self, Failure> {
        let encoding = [Encoding::Utf8, Encoding::Base64]
            .into_iter()
            .find(|encoding| sealed.first() == Some(&encoding_byte(*encoding)))
            .ok_or_else(|| Failure::corrupted("the value has no encoding"))?;
        Ok(Self { sealed, encoding })
    }
}

impl AsRef<[u8]> for Revealed {
    fn as_ref(&self) -> &[u8] {
        self.expose()
    }
}

impl Vault {
    /// Reveals one value.
    pub async fn detokenize(&self, call: &Call, token: &Token) -> Result<Revealed, Failure> {
        self.authorize(call, Operation::Detokenize)?;
        self.reveal(call, token).await
    }

    /// Reveals many, in order, a few at a time; each item succeeds or fails by itself.
    pub fn detokenize_batch<'a>(
        &'a self,
        call: &'a Call,
        tokens: &'a [Result<Token, Failure>],
    ) -> Result<impl Stream<Item = Result<Revealed, Failure>> + Unpin + 'a, Failure> {
        self.authorize(call, Operation::Detokenize)?;
        let items = tokens.iter().map(move |token| async move {
            match token {
                Ok(token) => self.reveal(call, token).await,
                Err(failure) => Err(failure.clone()),
            }
        });
        Ok(stream::iter(items).buffered(limits::BATCH_CONCURRENCY))
    }

    async fn reveal(&self, call: &Call, token: &Token) -> Result<Revealed, Failure> {
        let found = self.read_live(&Self::subject(call, token, Kind::Value)).await?;
        Revealed::new(found.opened.plaintext)
    }
}
