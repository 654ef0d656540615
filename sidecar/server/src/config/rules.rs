//! What a client's fields hold: users and groups, rates, namespaces and operations.

use std::num::NonZeroU32;

use lunasec_core::{ids::Namespace, policy::Operation};

use super::{
    kinds::{Refusal, bound, items, noted, one_of, refuse},
    mistake::quoted,
    settings::words,
};

/// The greatest number of a user or group; the next one means "none" to the kernel.
pub(super) const LAST_ID: u32 = u32::MAX - 1;

pub(super) fn id(text: &str) -> Result<u32, Refusal> {
    match whole(text)? {
        Some(id) if id <= u64::from(LAST_ID) => Ok(u32::try_from(id).unwrap_or(LAST_ID)),
        Some(_) => bound("is more than the maximum,", &LAST_ID.to_string(), " or less"),
        None => noted("is less than nothing", ", 0 or more"),
    }
}

pub(super) fn rate(text: &str) -> Result<NonZeroU32, Refusal> {
    match whole(text)?.map(u32::try_from) {
        Some(Ok(rate)) => NonZeroU32::new(rate).map_or_else(less_than_one, Ok),
        Some(Err(_)) => bound("is more than the maximum,", &u32::MAX.to_string(), " or less"),
        None => less_than_one(),
    }
}

fn less_than_one<T>() -> Result<T, Refusal> {
    noted("is less than one", ", or leave it out for no bound")
}

/// A whole number; none where it is negative. What is too large for anything is the largest there is.
fn whole(text: &str) -> Result<Option<u64>, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return noted("is not a whole number", ", in digits");
    }
    Ok((digits.len() == text.len()).then(|| digits.parse().unwrap_or(u64::MAX)))
}

pub(super) fn namespaces(text: &str) -> Result<Vec<Namespace>, Refusal> {
    different(text, |name| match Namespace::parse(name) {
        Ok(namespace) => Ok(namespace),
        Err(_) if name == "*" => noted("does not say where", ": each namespace by its name"),
        Err(error) => refuse(format!("has {}, but {error}", quoted(name))),
    })
}

pub(super) fn operations(text: &str) -> Result<Vec<Operation>, Refusal> {
    different(text, |word| match Operation::parse(word) {
        Some(operation) => Ok(operation),
        None if word == "*" => noted("does not say what", ": each operation by its name"),
        None => Err(unknown_operation(text, word)),
    })
}

/// What to write in place of a list with a word that is no operation: the list with what was meant.
fn unknown_operation(text: &str, word: &str) -> Refusal {
    let meant = |word| one_of(word, &words(Operation::GRANTABLE));
    let why = format!("has {}, which {}", quoted(word), meant(word).why);
    let mended: Option<Vec<String>> = items(text)
        .map(|word| Operation::parse(word).map_or_else(|| meant(word).value, |_| Some(word.into())))
        .collect();
    Refusal { why, value: mended.map(|words| words.join(",")), note: "" }
}

/// A list with something in it, and nothing twice.
fn different<T: PartialEq>(
    text: &str,
    read: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let mut list = Vec::new();
    for item in items(text) {
        let read = read(item)?;
        if list.contains(&read) {
            return refuse(format!("has {item:?} twice"));
        }
        list.push(read);
    }
    if list.is_empty() { refuse("is empty") } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_groups_and_rates() {
        assert_eq!((id("0"), id("4294967294")), (Ok(0), Ok(LAST_ID)));
        for bad in ["", "-1", "4294967295", "99999999999999999999999", "root", "+1", "1.0"] {
            assert!(id(bad).is_err(), "{bad}");
        }
        assert_eq!(rate("1"), Ok(NonZeroU32::MIN));
        assert_eq!(rate("4294967295"), Ok(NonZeroU32::MAX));
        for bad in ["", "0", "-1", "4294967296", "99999999999999999999999", "many"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_have_something_and_nothing_twice() {
        let names = |text| namespaces(text).map(|list| list.len());
        assert_eq!((names("shop"), names("shop, eu-1")), (Ok(1), Ok(2)));
        for bad in ["", " ", ",", "shop,", "shop,shop", "*", "Shop", "shop,*"] {
            assert!(names(bad).is_err(), "{bad}");
        }
        let all = operations("tokenize,detokenize,metadata,grants,delete").unwrap();
        assert_eq!(all, Operation::GRANTABLE);
        for bad in ["", "*", "sweep", "status", "tokenize,tokenize", "Tokenize", "tokenize,*"] {
            assert!(operations(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_misspelt_operation_is_mended_where_it_stands() {
        let refusal = operations("tokenize, detokenise,deletes").unwrap_err();
        assert_eq!(refusal.value.as_deref(), Some("tokenize,detokenize,delete"));
        assert!(refusal.why.starts_with("has \"detokenise\", which is not one of"), "{refusal:?}");
        assert_eq!(operations("everything").unwrap_err().value, None);
    }
}
