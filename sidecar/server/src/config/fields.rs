//! What a field is. The fields themselves are in [`super::table`].

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use lunasec_core::{ids::Namespace, policy::Operation};

use super::{forms::Form, kinds::Shape, mistake::Place, settings::Draft};

/// A section of the file.
pub(super) struct Section {
    /// Its name.
    pub(super) name: &'static str,
    /// How often it may be there.
    pub(super) times: Times,
    /// What it is for.
    pub(super) about: &'static str,
}

/// How often a section may be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// Once at most.
    Once,
    /// Any number of times, in double brackets.
    Any,
    /// The same, but at least once.
    Some,
}

impl Section {
    /// Whether it is written in double brackets, once for each of what it describes.
    pub(super) fn is_list(&self) -> bool {
        self.times != Times::Once
    }

    /// The line that begins it.
    pub(super) fn header(&self) -> String {
        let name = self.name;
        if self.is_list() { format!("[[{name}]]") } else { format!("[{name}]") }
    }
}

/// One field: everything that reading, the schema, the reference and the overrides need to know.
pub(super) struct Field {
    /// The section that it is in.
    pub(super) section: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// What may be left out.
    pub(super) need: Need,
    /// What it holds, and where in the draft.
    pub(super) kind: Kind,
    /// What it means.
    pub(super) about: &'static str,
}

/// Whether a field must be written.
#[derive(Clone, Copy)]
pub(super) enum Need {
    /// No: it has a default.
    Default,
    /// No, and then there is none. The example is for mistakes.
    Optional(&'static str),
    /// Always.
    Always(&'static str),
    /// If the section's `kind` is this word; with any other it has no meaning.
    With(&'static str, &'static str),
    /// No, and it has a meaning only if the section's `kind` is this word.
    May(&'static str, &'static str),
}

type At<T> = fn(&mut Draft) -> &mut T;

/// What a field holds, its bounds, and where in the draft it goes.
pub(super) enum Kind {
    /// The path of a Unix socket.
    Socket(At<PathBuf>),
    /// A path.
    Path(At<Option<PathBuf>>),
    /// Permission bits, as octal text.
    Mode(At<u32>),
    /// The name of a Unix group.
    Group(At<Option<String>>),
    /// A name that AWS gives or takes, of a form that can be checked here.
    Name(Form, At<Option<String>>),
    /// A list of KMS keys.
    KeyIds(At<Vec<String>>),
    /// A KMS key for each of some namespaces.
    KeyIdsByNamespace(At<BTreeMap<String, String>>),
    /// True or false.
    Switch(At<bool>),
    /// The number of a user or a group.
    Id(At<Option<u32>>),
    /// A whole number; at least one.
    Rate(At<Option<NonZeroU32>>),
    /// A list of namespaces.
    Namespaces(At<Vec<Namespace>>),
    /// A list of what a client can be allowed to do.
    Operations(At<Vec<Operation>>),
    /// An IP address and port, or `off`.
    Address(At<Option<SocketAddr>>),
    /// One of a few words.
    Word {
        /// The words.
        words: &'static [&'static str],
        /// Puts one into the draft, if it is among them.
        put: fn(&mut Draft, &str) -> Option<()>,
        /// The one in the draft.
        get: fn(&Draft) -> Option<&'static str>,
    },
    /// A number of bytes, in words.
    Size {
        /// The least; one, where that is all that counts.
        least: usize,
        /// The most.
        most: usize,
        /// Where it goes.
        at: At<usize>,
    },
    /// A whole number; at least one.
    Count {
        /// The most.
        most: usize,
        /// Where it goes.
        at: At<usize>,
    },
    /// The same, in 64 bits.
    Entries {
        /// The most.
        most: u64,
        /// Where it goes.
        at: At<u64>,
    },
    /// A duration, in words.
    Time {
        /// The least.
        least: Duration,
        /// The most.
        most: Duration,
        /// Where it goes.
        at: At<Duration>,
    },
}

impl Field {
    /// `section.name`.
    pub(super) fn full(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that overrides it.
    pub(super) fn variable(&self) -> String {
        let section = self.section.replace('.', "__");
        format!("LUNASEC_{section}__{}", self.name).to_ascii_uppercase()
    }

    /// Its default.
    pub(super) fn default(&self) -> Option<String> {
        match self.need {
            Need::Default => self.kind.show(&mut Draft::default()),
            _ => None,
        }
    }

    /// A value that is right.
    pub(super) fn example(&self) -> String {
        match self.need {
            Need::Default => self.default().unwrap_or_default(),
            Need::Optional(example)
            | Need::Always(example)
            | Need::With(_, example)
            | Need::May(_, example) => example.into(),
        }
    }

    /// The line of the file that sets it.
    pub(super) fn line(&self, value: &str) -> String {
        match self.kind.shape() {
            Shape::Text => format!("{} = {value:?}", self.name),
            Shape::Whole | Shape::Switch => format!("{} = {value}", self.name),
            Shape::List => format!("{} = [{}]", self.name, list(value, |item| format!("{item:?}"))),
            Shape::Table => {
                let pair = |item: &str| match item.split_once('=') {
                    Some((name, value)) => format!("{name} = {value:?}"),
                    None => format!("{item} = \"\""),
                };
                format!("{} = {{ {} }}", self.name, list(value, pair))
            }
        }
    }

    /// The advice to write that line.
    pub(super) fn write(&self, value: &str) -> String {
        format!("write {}", self.line(value))
    }

    /// The advice to give it that value, in the file or in the environment.
    pub(super) fn set(&self, place: &Place, value: &str) -> String {
        match place {
            Place::Environment(_) => format!("set {}={value}", self.variable()),
            Place::Line { .. } | Place::Whole => self.write(value),
        }
    }
}

/// The items of a text that holds a list, as the file writes them.
fn list(text: &str, item: impl Fn(&str) -> String) -> String {
    let items = text.split(',').filter(|item| !item.is_empty());
    items.map(|text| item(text.trim())).collect::<Vec<_>>().join(", ")
}
