//! Takes values out of a TOML table and collects what is wrong with them.

use std::ops::RangeInclusive;

use toml::{Table, Value};

use crate::quantity::Quantity;

pub(super) struct Reader {
    table: Table,
    mistakes: Vec<String>,
}

impl Reader {
    pub(super) fn new(text: &str) -> Result<Self, Vec<String>> {
        let table = text
            .parse()
            .map_err(|error: toml::de::Error| vec![format!("this is no TOML: {error}")])?;
        Ok(Self { table, mistakes: Vec::new() })
    }

    pub(super) fn mistake(&mut self, words: String) {
        self.mistakes.push(words);
    }

    /// What nobody took is a mistake, too.
    pub(super) fn finish<T>(mut self, read: T) -> Result<T, Vec<String>> {
        for (key, value) in &self.table {
            match value {
                Value::Table(section) => {
                    let left = section.keys().map(|field| format!("{key}.{field} is no setting"));
                    self.mistakes.extend(left);
                }
                _ => self.mistakes.push(format!("{key} is no setting")),
            }
        }
        if self.mistakes.is_empty() { Ok(read) } else { Err(self.mistakes) }
    }

    /// A text, or the default. What comes of a mistake is never used, so it is the default's.
    pub(super) fn or<T>(
        &mut self,
        section: &str,
        key: &str,
        default: &str,
        parse: impl Fn(&str) -> Option<T>,
        form: &str,
    ) -> T
    where
        T: Fallback,
    {
        let given = self.text(section, key, form);
        let text = given.as_deref().unwrap_or(default);
        parse(text).unwrap_or_else(|| {
            self.wrong(section, key, &format!("{text:?}"), form);
            parse(default).unwrap_or_else(T::fallback)
        })
    }

    pub(super) fn required(
        &mut self,
        section: &str,
        key: &str,
        parse: impl Fn(&str) -> Option<String>,
        form: &str,
    ) -> String {
        match self.take(section, key) {
            None => {
                self.mistakes.push(format!("{} is missing; it must be {form}", path(section, key)));
                String::new()
            }
            Some(Value::String(text)) => parse(&text).unwrap_or_else(|| {
                self.wrong(section, key, &format!("{text:?}"), form);
                String::new()
            }),
            Some(other) => {
                self.wrong(section, key, &shown(&other), form);
                String::new()
            }
        }
    }

    pub(super) fn quantity(
        &mut self,
        section: &str,
        key: &str,
        default: &str,
        form: &str,
    ) -> Option<Quantity> {
        let form = format!("{form}; \"\" is none");
        let parse =
            |text: &str| if text.is_empty() { Some(None) } else { Quantity::parse(text).map(Some) };
        self.or(section, key, default, parse, &form)
    }

    pub(super) fn flag(&mut self, section: &str, key: &str, default: bool) -> bool {
        match self.take(section, key) {
            None => default,
            Some(Value::Boolean(flag)) => flag,
            Some(other) => {
                self.wrong(section, key, &shown(&other), "true or false");
                default
            }
        }
    }

    /// A list of texts; nothing is an empty one.
    pub(super) fn list(
        &mut self,
        section: &str,
        key: &str,
        parse: impl Fn(&str) -> Option<String>,
        form: &str,
    ) -> Vec<String> {
        let Some(found) = self.take(section, key) else { return Vec::new() };
        let texts = found.as_array().and_then(|all| {
            all.iter().map(|it| it.as_str().and_then(&parse)).collect::<Option<Vec<_>>>()
        });
        texts.unwrap_or_else(|| {
            self.wrong(section, key, &shown(&found), form);
            Vec::new()
        })
    }

    pub(super) fn number(
        &mut self,
        section: &str,
        key: &str,
        default: u32,
        range: RangeInclusive<i64>,
    ) -> u32 {
        let found = match self.take(section, key) {
            None => return default,
            Some(found) => found,
        };
        let number = found
            .as_integer()
            .filter(|it| range.contains(it))
            .and_then(|it| u32::try_from(it).ok());
        number.unwrap_or_else(|| {
            let form = format!("a number from {} to {}", range.start(), range.end());
            self.wrong(section, key, &shown(&found), &form);
            default
        })
    }

    fn text(&mut self, section: &str, key: &str, form: &str) -> Option<String> {
        match self.take(section, key)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong(section, key, &shown(&other), form);
                None
            }
        }
    }

    fn take(&mut self, section: &str, key: &str) -> Option<Value> {
        if section.is_empty() {
            return self.table.remove(key);
        }
        self.table.get_mut(section)?.as_table_mut()?.remove(key)
    }

    fn wrong(&mut self, section: &str, key: &str, is: &str, form: &str) {
        self.mistakes.push(format!("{} is {is}; it must be {form}", path(section, key)));
    }
}

/// What stands for a value whose default cannot be read, which is a mistake in this program.
pub(super) trait Fallback {
    fn fallback() -> Self;
}

macro_rules! fallback {
    ($($type:ty = $value:expr;)+) => {
        $(impl Fallback for $type { fn fallback() -> Self { $value } })+
    };
}

fallback! {
    String = String::new();
    bool = false;
    std::time::Duration = std::time::Duration::from_secs(60);
    std::net::SocketAddr = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    super::Level = super::Level::Info;
    super::Journal = super::Journal::Annotated;
    Option<Quantity> = None;
}

fn shown(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| value.type_str().to_owned())
}

fn path(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}
