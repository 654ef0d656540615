//! Reading a value of each kind, and showing it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use lunasec_core::{ids::Namespace, limits, words};

use super::{
    fields::Kind,
    forms::{self, Form},
    names, rules,
    settings::Draft,
};

/// The least of a duration that may be anything but nothing.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// How the file writes a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// In quotes.
    Text,
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Switch,
    /// A list of texts; in the environment, with commas between them.
    List,
    /// A table of texts; in the environment, `name=text` with commas between them.
    Table,
}

/// Why a value was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Goes on from "which …".
    pub(super) why: String,
    /// A value to write instead; none stands for the field's example.
    pub(super) value: Option<String>,
    /// Goes on from that value.
    pub(super) note: &'static str,
}

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { why: why.into(), value: None, note: "" })
}

pub(super) fn noted<T>(why: &str, note: &'static str) -> Result<T, Refusal> {
    Err(Refusal { why: why.into(), value: None, note })
}

pub(super) fn bound<T>(why: &str, value: &str, note: &'static str) -> Result<T, Refusal> {
    Err(Refusal { why: format!("{why} {value}"), value: Some(value.into()), note })
}

impl Kind {
    /// How the file writes it.
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Count { .. } | Self::Entries { .. } | Self::Id(_) | Self::Rate(_) => Shape::Whole,
            Self::Switch(_) => Shape::Switch,
            Self::KeyIds(_) | Self::Namespaces(_) | Self::Operations(_) => Shape::List,
            Self::KeyIdsByNamespace(_) => Shape::Table,
            _ => Shape::Text,
        }
    }

    /// Reads a value into the draft.
    pub(super) fn read(&self, text: &str, draft: &mut Draft) -> Result<(), Refusal> {
        match self {
            Self::Socket(at) => *at(draft) = socket(text)?,
            Self::Path(at) => *at(draft) = Some(path(text)?),
            Self::Mode(at) => *at(draft) = mode(text)?,
            Self::Group(at) => *at(draft) = Some(group(text)?),
            Self::Name(form, at) => *at(draft) = Some(form.read(text)?),
            Self::KeyIds(at) => *at(draft) = key_ids(text)?,
            Self::KeyIdsByNamespace(at) => *at(draft) = forms::key_ids_by_namespace(text)?,
            Self::Switch(at) => *at(draft) = switch(text)?,
            Self::Id(at) => *at(draft) = Some(rules::id(text)?),
            Self::Rate(at) => *at(draft) = Some(rules::rate(text)?),
            Self::Namespaces(at) => *at(draft) = rules::namespaces(text)?,
            Self::Operations(at) => *at(draft) = rules::operations(text)?,
            Self::Address(at) => *at(draft) = address(text)?,
            Self::Word { words, put, .. } => {
                put(draft, text).map_or_else(|| Err(one_of(text, words)), Ok)?;
            }
            Self::Size { least, most, at } => *at(draft) = size(text, *least..=*most)?,
            Self::Count { most, at } => *at(draft) = count(text, *most)?,
            Self::Entries { most, at } => *at(draft) = count(text, *most)?,
            Self::Time { least, most, at } => *at(draft) = time(text, *least..=*most)?,
        }
        Ok(())
    }

    /// The draft's value, as the file would write it.
    pub(super) fn show(&self, draft: &mut Draft) -> Option<String> {
        match self {
            Self::Socket(at) => Some(at(draft).display().to_string()),
            Self::Path(at) => at(draft).as_deref().map(Path::display).map(|path| path.to_string()),
            Self::Mode(at) => Some(format!("{:04o}", at(draft))),
            Self::Group(at) | Self::Name(_, at) => at(draft).clone(),
            Self::KeyIds(at) => Some(at(draft).join(",")),
            Self::KeyIdsByNamespace(at) => Some(pairs(at(draft))),
            Self::Switch(at) => Some(at(draft).to_string()),
            Self::Id(at) => at(draft).map(|id| id.to_string()),
            Self::Rate(at) => at(draft).map(|rate| rate.to_string()),
            Self::Namespaces(at) => Some(joined(at(draft), Namespace::as_str)),
            Self::Operations(at) => Some(joined(at(draft), |operation| operation.as_str())),
            Self::Address(at) => Some(at(draft).map_or("off".into(), |at| at.to_string())),
            Self::Word { get, .. } => get(draft).map(Into::into),
            Self::Size { at, .. } => Some(show_size(*at(draft))),
            Self::Count { at, .. } => Some(at(draft).to_string()),
            Self::Entries { at, .. } => Some(at(draft).to_string()),
            Self::Time { at, .. } => Some(show_time(*at(draft))),
        }
    }
}

fn path(text: &str) -> Result<PathBuf, Refusal> {
    if text.is_empty() {
        return refuse("is empty");
    }
    if text.contains('\0') {
        return refuse("has a zero byte in it");
    }
    Ok(text.into())
}

fn socket(text: &str) -> Result<PathBuf, Refusal> {
    if text.len() > limits::SOCKET_PATH_BYTES {
        return refuse(format!(
            "has {} bytes, and the path of a socket has at most {}",
            text.len(),
            limits::SOCKET_PATH_BYTES
        ));
    }
    path(text)
}

fn mode(text: &str) -> Result<u32, Refusal> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|c| (b'0'..=b'7').contains(&c));
    let bits = u32::from_str_radix(text, 8).unwrap_or_default();
    if !octal {
        return noted("is not an octal mode", ": three octal digits after a zero");
    }
    if bits > 0o777 {
        return noted("sets more than permission bits", ": the first digit is 0");
    }
    if bits & 0o007 != 0 {
        let closed = format!("{:04o}", bits & 0o770);
        let why = "lets every user of this machine in".into();
        return Err(Refusal { why, value: Some(closed), note: ": the last digit is 0" });
    }
    if bits & 0o220 == 0 {
        return noted("lets nobody in", ": to connect is to write, the bit of value 2");
    }
    Ok(bits)
}

fn group(text: &str) -> Result<String, Refusal> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !":,/".contains(c);
    if text.is_empty() {
        return noted("is empty", ", or leave it out");
    }
    if text.chars().count() > 32 || !text.chars().all(plain) {
        return noted("is not the name of a group", ", a name as in /etc/group");
    }
    Ok(text.into())
}

fn switch(text: &str) -> Result<bool, Refusal> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => refuse("is neither true nor false"),
    }
}

/// The items of a list as text, without what stands around them.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    let items = if text.trim().is_empty() { None } else { Some(text.split(',').map(str::trim)) };
    items.into_iter().flatten()
}

fn key_ids(text: &str) -> Result<Vec<String>, Refusal> {
    let ids: Vec<String> = items(text).map(|id| Form::KeyId.read(id)).collect::<Result<_, _>>()?;
    if ids.len() > limits::ACCEPTED_KEYS {
        return refuse(format!("has more than {} keys", limits::ACCEPTED_KEYS));
    }
    Ok(ids)
}

fn joined<T>(items: &[T], text: impl Fn(&T) -> &str) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(",")
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn address(text: &str) -> Result<Option<SocketAddr>, Refusal> {
    if text == "off" {
        return Ok(None);
    }
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) => {
            noted("is not an IP address and a port", ", in brackets if it is IPv6, or \"off\"")
        }
    }
}

pub(super) fn one_of(text: &str, words: &[&str]) -> Refusal {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    let why = match quoted.as_slice() {
        [only] => format!("is not {only}"),
        _ => format!("is not one of {}", quoted.join(", ")),
    };
    let meant = names::closest(text, words.iter().map(|word| (String::from(*word), *word)));
    Refusal { why, value: meant.map(Into::into), note: "" }
}

fn size(text: &str, range: RangeInclusive<usize>) -> Result<usize, Refusal> {
    match words::size(text).map(usize::try_from) {
        None => noted("is not a size", ": a whole number and one of B, KiB, MiB, GiB"),
        Some(Ok(0)) if *range.start() == 1 => noted("is nothing at all", " or less, but not 0 B"),
        Some(Ok(bytes)) if bytes < *range.start() => {
            bound("is less than the minimum,", &show_size(*range.start()), " or more")
        }
        Some(Ok(bytes)) if range.contains(&bytes) => Ok(bytes),
        Some(_) => bound("is more than the maximum,", &show_size(*range.end()), " or less"),
    }
}

fn count<T>(text: &str, most: T) -> Result<T, Refusal>
where
    T: Copy + TryFrom<u128> + PartialOrd + ToString,
{
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return noted("is not a whole number", ", in digits");
    }
    if digits.len() < text.len() || digits.bytes().all(|c| c == b'0') {
        return noted("is less than one", " or less, but not 0");
    }
    match digits.parse::<u128>().ok().and_then(|number| T::try_from(number).ok()) {
        Some(number) if number <= most => Ok(number),
        _ => bound("is more than the maximum,", &most.to_string(), " or less"),
    }
}

fn time(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Refusal> {
    let Some(time) = words::duration(text) else {
        return noted("is not a duration", ": a whole number and one of ms, s, m, h, d");
    };
    if time > *range.end() {
        return bound("is more than the maximum,", &show_time(*range.end()), " or less");
    }
    if time.is_zero() && *range.start() == SHORTEST {
        return noted("is no time at all", " or less, but not 0s");
    }
    if time < *range.start() {
        return bound("is less than the minimum,", &show_time(*range.start()), " or more");
    }
    Ok(time)
}

/// A size in words, in the largest unit that leaves a whole number.
pub(super) fn show_size(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "B"));
    format!("{} {name}", bytes / unit)
}

/// A duration in words, in the largest unit that leaves a whole number.
pub(super) fn show_time(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units.into_iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "ms"));
    format!("{}{name}", millis / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [1, 1023, 1024, 1536, 1 << 20, (1 << 20) + 1, 3 << 30] {
            assert_eq!(words::size(&show_size(bytes)), Some(bytes as u64));
        }
        for millis in [0, 1, 999, 1_000, 90_000, 86_400_000, 172_800_000, 3_600_001] {
            let time = Duration::from_millis(millis);
            assert_eq!(words::duration(&show_time(time)), Some(time));
        }
        assert_eq!(
            (show_size(1 << 20), show_time(Duration::from_secs(300))),
            ("1 MiB".into(), "5m".into())
        );
    }

    #[test]
    fn modes() {
        for (text, bits) in [("0660", 0o660), ("660", 0o660), ("0600", 0o600), ("0770", 0o770)] {
            assert_eq!(mode(text), Ok(bits));
        }
        for bad in [
            "", "0", "66", "0o660", "00660", "0668", "0666", "4660", "1660", "+660", "0440",
            "0000", "rw-",
        ] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        for others in 1..8 {
            assert!(mode(&format!("066{others}")).is_err(), "{others}");
        }
        assert_eq!(mode("0757").unwrap_err().value.as_deref(), Some("0750"));
    }

    #[test]
    fn counts() {
        assert_eq!(count("1", 9_usize), Ok(1));
        assert_eq!(count("9", 9_u64), Ok(9));
        for bad in ["", "-", "+1", "1.0", "ten", "0", "00", "-1", "10", "1 ", &"9".repeat(50)] {
            assert!(count(bad, 9_usize).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_and_addresses() {
        assert!(group("lunasec").is_ok() && group("_www-data.1").is_ok());
        for bad in ["", "a b", "a:b", "a/b", "a\n", &"g".repeat(33)] {
            assert!(group(bad).is_err(), "{bad}");
        }
        assert_eq!(address("off"), Ok(None));
        assert!(address("[::1]:9464").is_ok() && address("0.0.0.0:0").is_ok());
        for bad in ["", "Off", "localhost:9464", "127.0.0.1", ":9464", "::1:9464x", "1.2.3.4:65536"]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
