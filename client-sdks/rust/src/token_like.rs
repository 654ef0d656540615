use std::borrow::Cow;

use crate::{Error, Token};

/// What stands for a token in a call: a [`Token`], or its text as a database gives it back.
pub trait TokenLike: sealed::TokenLike {}

mod sealed {
    use std::borrow::Cow;

    use crate::{Error, Token};

    pub trait TokenLike {
        fn token(&self) -> Result<Cow<'_, Token>, Error>;
    }
}

pub(crate) fn token_of(like: &impl TokenLike) -> Result<Token, Error> {
    sealed::TokenLike::token(like).map(Cow::into_owned)
}

impl TokenLike for Token {}
impl sealed::TokenLike for Token {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        Ok(Cow::Borrowed(self))
    }
}

impl TokenLike for crate::StoredToken {}
impl sealed::TokenLike for crate::StoredToken {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        Ok(Cow::Borrowed(self))
    }
}

impl TokenLike for str {}
impl sealed::TokenLike for str {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        Token::from_text(self).map(Cow::Owned)
    }
}

impl TokenLike for String {}
impl sealed::TokenLike for String {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        self.as_str().token()
    }
}

impl<T: TokenLike + ?Sized> TokenLike for &T {}
impl<T: TokenLike + ?Sized> sealed::TokenLike for &T {
    fn token(&self) -> Result<Cow<'_, Token>, Error> {
        (**self).token()
    }
}
