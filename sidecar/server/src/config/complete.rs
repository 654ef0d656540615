//! After the reading: what is absent and must not be, and what is there to no effect.

use std::path::{Component, Path, PathBuf};

use lunasec_core::limits;

use super::{
    fields::{Field, Need},
    mistake::Place,
    reader::{Given, Reader},
    settings::{AuditSink, OnOutage, Remember, StorageKind},
};

impl Reader {
    /// Reports what is absent and must not be, and what is there to no effect.
    pub(super) fn complete(&mut self) {
        for section in self.table.sections {
            let mut needs = self.table.fields_of(section.name);
            if section.is_list() {
                self.items_of(section);
            } else if let Some(kind) = needs.find(|field| matches!(field.need, Need::Always(_))) {
                self.kind(kind);
            }
        }
        for (section, field, other) in self.table.beside {
            self.beside(section, field, other);
        }
        self.journal();
        self.audit();
        self.standby_key();
        self.grant_times();
        self.cache_times();
        self.grants_to_any_session();
    }

    /// Reports a journal that has nowhere to be, nothing to bridge, or no end in time.
    fn journal(&mut self) {
        let place_of = |reader: &Self, name: &str| {
            reader.given.get(name).filter(|given| given.good).map(|given| given.place.clone())
        };
        let journals = self.draft.degrade.on_storage_outage == OnOutage::Journal;
        if let Some(place) = place_of(self, "degrade.on_storage_outage").filter(|_| journals) {
            if self.draft.degrade.state_dir.is_none() && self.is_certain("degrade") {
                let what = "degrade.on_storage_outage = \"journal\" needs degrade.state_dir, where the journal lies";
                self.mistake(
                    place.clone(),
                    what.to_owned(),
                    "write state_dir = \"/var/lib/lunasec\"",
                );
            }
            if self.draft.storage_kind.is_some_and(|kind| kind != StorageKind::S3) {
                let what = "degrade.on_storage_outage = \"journal\" has no effect without storage.kind = \"s3\": this store lies on the same machine";
                self.mistake(place, what.to_owned(), "remove it, or write kind = \"s3\"");
            }
        }
        let kept = self.draft.sweep.tombstone_grace;
        if !journals || self.draft.degrade.journal_age + limits::JOURNAL_MARGIN <= kept {
            return;
        }
        let given = ["degrade.journal_age", "sweep.tombstone_grace", "degrade.on_storage_outage"];
        if let Some(place) = given.iter().find_map(|name| place_of(self, name)) {
            let what = "degrade.journal_age is not a day less than sweep.tombstone_grace: what was deleted meanwhile could come back";
            self.mistake(
                place,
                what.to_owned(),
                "keep tombstones for longer, or the journal for less",
            );
        }
    }

    /// Reports records that have nowhere to go, or to wait.
    fn audit(&mut self) {
        let audit = &self.draft.audit;
        let to_file = audit.sink.to_file();
        let place_of = |name: &str| {
            self.given.get(name).filter(|given| given.good).map(|given| given.place.clone())
        };
        let (sink, path) = (place_of("audit.sink"), place_of("audit.path"));
        let nowhere = self.draft.degrade.state_dir.is_none() && self.is_certain("degrade");
        let mistake = match (sink, path) {
            (Some(place), _) if audit.sink != AuditSink::Off && nowhere => Some((
                place,
                "audit.sink needs degrade.state_dir, where records wait for it",
                "write state_dir = \"/var/lib/lunasec\"",
            )),
            (Some(place), None)
                if to_file
                    && !self.given.contains_key("audit.path")
                    && self.is_certain("audit") =>
            {
                Some((
                    place,
                    "audit.path is missing, and this sink needs it",
                    "write path = \"/var/log/lunasec/audit.jsonl\"",
                ))
            }
            (_, Some(place)) if !to_file => Some((
                place,
                "audit.path has no effect with this sink",
                "remove it, or write sink = \"file\"",
            )),
            _ => None,
        };
        if let Some((place, what, instead)) = mistake {
            self.mistake(place, what.to_owned(), instead);
        }
    }

    /// Reports a standby key that lies beside what it is there to protect.
    fn standby_key(&mut self) {
        let degrade = &self.draft.degrade;
        let Some((directory, key)) =
            degrade.state_dir.as_ref().zip(degrade.standby_key_file.as_ref())
        else {
            return;
        };
        if !plain(key).starts_with(plain(directory)) {
            return;
        }
        let given = ["degrade.standby_key_file", "degrade.state_dir"];
        let Some(place) = given.iter().find_map(|name| self.given.get(*name)) else { return };
        let what = "degrade.standby_key_file lies in degrade.state_dir: whoever has that directory would have the data keys, too";
        let instead =
            "keep the key elsewhere, such as standby_key_file = \"/etc/lunasec/standby.key\"";
        self.mistake(place.place.clone(), what.to_owned(), instead);
    }

    /// Reports a default that every grant without a time of its own would be refused for.
    fn grant_times(&mut self) {
        let grants = self.draft.grants;
        if grants.default <= grants.maximum {
            return;
        }
        // One of the two was given, or they would fit.
        let given = ["grants.default", "grants.maximum"].map(|name| self.given.get(name));
        let Some(place) = given.into_iter().flatten().map(|given| given.place.clone()).next()
        else {
            return;
        };
        let what = "grants.default is more than grants.maximum".to_owned();
        self.mistake(place, what, "give the maximum the longer time");
    }

    /// Reports clocks of what is remembered that do not come one after the other. One that is not written goes
    /// with those that are.
    fn cache_times(&mut self) {
        let mut cache = self.draft.cache.clone();
        self.clocks("cache.values", &mut cache.values);
        self.clocks("cache.grants", &mut cache.grants);
        self.draft.cache = cache;
    }

    fn clocks(&mut self, section: &'static str, clocks: &mut Remember) {
        let given = |name: &str| self.given.get(&format!("{section}.{name}"));
        let is_given = |name: &str| given(name).is_some();
        if !is_given("revocation") {
            clocks.revocation = clocks.revocation.max(clocks.soft).min(clocks.hard);
        }
        if !is_given("soft") {
            clocks.soft = clocks.soft.min(clocks.revocation).min(clocks.hard);
        }
        let all = [("soft", clocks.soft), ("revocation", clocks.revocation), ("hard", clocks.hard)];
        for (at, (name, time)) in all.iter().enumerate() {
            let Some((longer, _)) = all[at..].iter().find(|(_, longer)| longer < time) else {
                continue;
            };
            // One of the two was given, or they would fit.
            let Some(place) = given(name).or(given(longer)).map(|given| given.place.clone()) else {
                continue;
            };
            let what = format!("{section}.{name} is more than {section}.{longer}");
            let instead = "give soft the shortest time, and hard the longest";
            return self.mistake(place, what, instead);
        }
    }

    /// Reports a field that means nothing without another one.
    fn beside(&mut self, section: &str, field: &str, other: &str) {
        let given = |name: &str| self.given.get(&format!("{section}.{name}"));
        let (Some(Given { place, good: true }), None) = (given(field), given(other)) else {
            return;
        };
        let place = place.clone();
        let complained = self.mistakes.iter().any(|mistake| mistake.place == place);
        if complained || !self.is_certain(section) {
            return;
        }
        let what = format!("{section}.{field} has no effect without {section}.{other}");
        let instead = match self.table.field_named(section, other) {
            Some(other) => format!("remove it, or {}", other.set(&place, &other.example())),
            None => "remove it".into(),
        };
        self.mistake(place, what, instead);
    }

    /// Whether what is absent from a section was not written, and not just lost.
    pub(super) fn is_certain(&self, section: &str) -> bool {
        !self.unsure && !self.lost.contains(section)
    }

    /// Whether a line that meant to set this could not be read, in whichever section of a list.
    pub(super) fn is_lost(&self, field: &Field) -> bool {
        self.given.contains_key(&field.full())
    }

    fn kind(&mut self, kind: &'static Field) {
        let certain = self.is_certain(kind.section);
        match self.given.get(&kind.full()) {
            None if certain => self.absent(kind),
            Some(Given { good: true, place }) => {
                let place = place.clone();
                let word = kind.kind.show(&mut self.draft).unwrap_or_default();
                for field in self.table.fields_of(kind.section) {
                    match field.need {
                        Need::With(needed, _) => {
                            self.dependent(field, &word, needed, &place, certain);
                        }
                        Need::May(needed, _) => {
                            self.dependent(field, &word, needed, &place, false);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// Checks a field that goes with one word of its section's kind, which is at `kind`.
    fn dependent(&mut self, field: &Field, word: &str, needed: &str, kind: &Place, certain: bool) {
        let section = field.section;
        match self.given.get(&field.full()) {
            None if word == needed && certain => {
                let place = self.sections.get(section).unwrap_or(kind).clone();
                let what = format!("{} is missing, and kind = {word:?} needs it", field.full());
                let instead = field.set(&place, &field.example());
                self.mistake(place, what, instead);
            }
            // An override of the kind may leave the file's field without effect.
            Some(given) if word != needed && given.good => {
                if given.place.in_file() && !kind.in_file() {
                    return;
                }
                let place = given.place.clone();
                let what = format!("{} has no effect with kind = {word:?}", field.full());
                self.mistake(place, what, format!("remove it, or write kind = {needed:?}"));
            }
            _ => {}
        }
    }

    /// Reports that a section, or its kind, is missing.
    fn absent(&mut self, kind: &Field) {
        let section = kind.section;
        let variable = || {
            let mut given =
                self.table.fields_of(section).filter_map(|field| self.given.get(&field.full()));
            given.next().map(|given| &given.place)
        };
        if let Some(place) = self.sections.get(section).or_else(variable).cloned() {
            let what = format!("{} is missing", kind.full());
            let instead = kind.set(&place, &kind.example());
            return self.mistake(place, what, instead);
        }
        let word = kind.example();
        let needed = self
            .table
            .fields_of(section)
            .filter(|field| match field.need {
                Need::Always(_) => true,
                Need::With(with, _) => with == word,
                _ => false,
            })
            .map(|field| format!("\n  {}", field.line(&field.example())));
        let instead = format!("write:\n  [{section}]{}", needed.collect::<String>());
        self.mistake(Place::Whole, format!("the section [{section}] is missing"), instead);
    }
}

/// A path without detours, as far as its words go.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(plain.components().next_back(), Some(Component::Normal(_))) =>
            {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
