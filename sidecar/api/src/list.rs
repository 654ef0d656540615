//! Lists that stop growing at their limit while they are parsed, so that a body of a million tiny
//! items never becomes a million structs.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
};

use crate::Named;

/// What a list of the wrong length is answered. The server recognises its own words by this.
pub const LIST_LENGTH: &str = "a list holds 1 to 1,000 items";
const MOST: usize = 1_000;

/// One item of a list.
struct NamedSeed<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for NamedSeed<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(Named(deserializer))
    }
}

pub(crate) fn bounded<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element_seed(NamedSeed(PhantomData))? {
                if items.len() == MOST {
                    return Err(A::Error::custom(LIST_LENGTH));
                }
                items.push(item);
            }
            if items.is_empty() { Err(A::Error::custom(LIST_LENGTH)) } else { Ok(items) }
        }
    }

    deserializer.deserialize_seq(Bounded(PhantomData))
}
