//! Cases of a policy: calls, and how they should be decided.
//!
//! ```toml
#![doc = include_str!("example-cases.toml")]
//! ```
//!
//! Read like a configuration, by a table of their own.

use lunasec_core::{
    ids::Namespace,
    policy::{Caller, Operation},
};

use super::{
    Mistake,
    fields::{Field, Kind, Need, Section, Times},
    forms::Form,
    read,
    settings::{Draft, Jwt, Verdict, words},
    table::{Table, field},
};

/// One call, and what the policy should say to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// Who calls.
    pub caller: Caller,
    /// What for.
    pub operation: Operation,
    /// Where; none for the client's own.
    pub namespace: Option<Namespace>,
    /// Whether the call carries a session.
    pub session: bool,
    /// Which JWT it shows.
    pub jwt: Jwt,
    /// Whether the call carries a purpose.
    pub purpose: bool,
    /// What should come of it.
    pub expect: Verdict,
    /// Which client should decide.
    pub client: Option<String>,
}

impl Case {
    /// Reads a file's text. The mistakes come in the order of their places.
    pub fn parse(text: &str) -> Result<Vec<Self>, Vec<Mistake>> {
        let (reader, mistakes) = read(&CASES, text, &[]);
        if mistakes.is_empty() {
            Ok(reader.items.iter().filter_map(|item| Self::of(&item.draft)).collect())
        } else {
            Err(mistakes)
        }
    }

    fn of(draft: &Draft) -> Option<Self> {
        let case = draft.case.clone();
        Some(Self {
            name: case.name?,
            caller: Caller { uid: case.uid?, gid: case.gid?, pid: None },
            operation: case.operation?,
            namespace: case.namespace.and_then(|name| Namespace::parse(&name).ok()),
            session: case.session,
            jwt: case.jwt,
            purpose: case.purpose,
            expect: case.expect?,
            client: case.client,
        })
    }
}

/// A file of cases.
pub(super) static CASES: Table = Table {
    sections: &[Section { name: "cases", times: Times::Some, about: "Calls to be decided." }],
    fields: FIELDS,
    beside: &[],
    either: &[],
};

const FIELDS: &[Field] = &[
    case(
        "name",
        Need::Always("the shop reveals"),
        Kind::Name(Form::Words, |d| &mut d.case.name),
        "What the case is about; no two have the same.",
    ),
    case("uid", Need::Always("10001"), Kind::Id(|d| &mut d.case.uid), "The user that calls."),
    case("gid", Need::Always("10001"), Kind::Id(|d| &mut d.case.gid), "The group that calls."),
    case(
        "namespace",
        Need::Optional("default"),
        Kind::Name(Form::Namespace, |d| &mut d.case.namespace),
        "The namespace that the call names. Without it, the client's own.",
    ),
    case(
        "operation",
        Need::Always("detokenize"),
        Kind::Word {
            words: &words(Operation::ALL),
            put: |d, word| {
                let named = |operation: &Operation| operation.as_str() == word;
                Operation::ALL.into_iter().find(named).map(|found| d.case.operation = Some(found))
            },
            get: |d| d.case.operation.map(Operation::as_str),
        },
        "What the call is for.",
    ),
    case(
        "session",
        Need::Default,
        Kind::Switch(|d| &mut d.case.session),
        "Whether the call carries a session.",
    ),
    case(
        "jwt",
        Need::Default,
        Kind::Word {
            words: Jwt::WORDS,
            put: |d, word| Jwt::parse(word).map(|jwt| d.case.jwt = jwt),
            get: |d| Some(d.case.jwt.as_str()),
        },
        "The JWT that the call shows: \"same\" of the session that it names, there or in the body of a grant, \"other\" of another.",
    ),
    case(
        "purpose",
        Need::Default,
        Kind::Switch(|d| &mut d.case.purpose),
        "Whether the call carries a purpose.",
    ),
    case(
        "expect",
        Need::Always("allow"),
        Kind::Word {
            words: Verdict::WORDS,
            put: |d, word| Verdict::parse(word).map(|verdict| d.case.expect = Some(verdict)),
            get: |d| d.case.expect.map(Verdict::as_str),
        },
        "What should come of it.",
    ),
    case(
        "client",
        Need::Optional("shop"),
        Kind::Name(Form::Words, |d| &mut d.case.client),
        "The client that should decide. Without it, any.",
    ),
];

const fn case(name: &'static str, need: Need, kind: Kind, about: &'static str) -> Field {
    field("cases", name, need, kind, about)
}
