//! Sections that are there several times: what one of them lacks, and what is wrong between them.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem,
};

use lunasec_core::policy::{Client, Operation};

use super::{
    fields::{Field, Need, Section, Times},
    mistake::Place,
    reader::{Item, Reader},
    settings::Jwks,
};

impl Item {
    /// Where it sets a field.
    fn place_of(&self, name: &str) -> Option<&Place> {
        let full = format!("{}.{name}", self.section.name);
        self.given.get(&full).map(|given| &given.place)
    }

    fn is_good(&self) -> bool {
        self.given.values().all(|given| given.good)
    }
}

impl Reader {
    /// Reports what is wrong with the sections of a list, beside their values.
    pub(super) fn items_of(&mut self, section: &'static Section) {
        let items = mem::take(&mut self.items);
        let mine: Vec<&Item> =
            items.iter().filter(|item| item.section.name == section.name).collect();
        if mine.is_empty() && section.times == Times::Some && self.is_certain(section.name) {
            self.none_of(section);
        }
        mine.iter().for_each(|item| self.lacks(item));
        self.names(&mine);
        self.clients(&mine);
        self.issuers(&mine);
        self.items = items;
    }

    fn none_of(&mut self, section: &Section) {
        let table = self.table;
        let lines = table
            .fields_of(section.name)
            .filter(|field| matches!(field.need, Need::Always(_)))
            .map(|field| format!("\n  {}", field.line(&field.example())));
        let instead = format!("write:\n  {}{}", section.header(), lines.collect::<String>());
        self.mistake(Place::Whole, format!("there is no {}", section.header()), instead);
    }

    /// Reports the fields that a section must have and has not.
    fn lacks(&mut self, item: &Item) {
        let section = item.section.name;
        let table = self.table;
        let absent = |reader: &Self, field: &Field| {
            reader.is_certain(section)
                && !item.given.contains_key(&field.full())
                && !reader.is_lost(field)
        };
        for field in table.fields_of(section) {
            if matches!(field.need, Need::Always(_)) && absent(self, field) {
                let what = format!("{} is missing", field.full());
                self.mistake(item.place.clone(), what, field.write(&field.example()));
            }
        }
        for (_, one, other) in table.either.iter().filter(|(name, ..)| *name == section) {
            let (Some(one), Some(other)) =
                (table.field_named(section, one), table.field_named(section, other))
            else {
                continue;
            };
            if absent(self, one) && absent(self, other) {
                let what = format!("{} and {} are both missing", one.full(), other.full());
                let instead = format!("{}, or {}, or both", one.write(&one.example()), other.name);
                self.mistake(item.place.clone(), what, instead);
            }
        }
    }

    /// Reports names that are taken already.
    fn names(&mut self, items: &[&Item]) {
        let mut first: BTreeMap<&str, &Place> = BTreeMap::new();
        for item in items {
            let Some((name, place)) = item.draft.name().zip(item.place_of("name")) else {
                continue;
            };
            if let Some(before) = first.get(name) {
                let what = format!("{name:?} is the name of another, at {before}");
                self.mistake(place.clone(), what, "give each a name of its own");
            } else {
                first.insert(name, place);
            }
        }
    }

    /// Reports what a client says to no effect, and clients that nobody can be.
    fn clients(&mut self, items: &[&Item]) {
        let mut before: Vec<(&Item, Client)> = Vec::new();
        for item in items.iter().copied().filter(|item| item.is_good()) {
            let Some(client) = item.draft.client() else { continue };
            self.without_effect(item, &client);
            if let Some((first, earlier)) =
                before.iter().find(|(_, earlier)| earlier.shadows(&client))
            {
                self.shadowed(item, &client, first, earlier);
            }
            before.push((item, client));
        }
    }

    /// Reports issuers that are there twice, and such as have their keys in two places: which of the two
    /// would count?
    fn issuers(&mut self, items: &[&Item]) {
        let mut first: BTreeMap<(String, String), &Place> = BTreeMap::new();
        let mut places: BTreeMap<String, (Jwks, &Place)> = BTreeMap::new();
        for item in items.iter().copied().filter(|item| item.is_good()) {
            let Some(issuer) = item.draft.issuer() else { continue };
            let before = places
                .entry(issuer.issuer.clone())
                .or_insert_with(|| (issuer.jwks.clone(), &item.place));
            if before.0 != issuer.jwks {
                let what = format!("this issuer has its keys elsewhere too, at {}", before.1);
                let place = item.place_of("jwks").unwrap_or(&item.place).clone();
                self.mistake(place, what, "write the same jwks for both");
            }
            match first.entry((issuer.issuer, issuer.audience)) {
                Entry::Vacant(free) => _ = free.insert(&item.place),
                Entry::Occupied(taken) => {
                    let what = format!(
                        "this issuer and audience have another [[sessions]], at {}",
                        taken.get()
                    );
                    self.mistake(item.place.clone(), what, "remove one of the two");
                }
            }
        }
    }

    /// Reports clients that may grant to any session where any may do that.
    pub(super) fn grants_to_any_session(&mut self) {
        if self.sections.contains_key("sessions") || !self.is_certain("sessions") {
            return;
        }
        let items = mem::take(&mut self.items);
        for item in items.iter().filter(|item| item.draft.client.grant_any_session) {
            let Some(place) = item.place_of("grant_any_session") else { continue };
            let what = "clients.grant_any_session has no effect without [[sessions]]: any client may grant to any session";
            self.mistake(place.clone(), what.to_owned(), "remove it, or write a [[sessions]]");
        }
        self.items = items;
    }

    fn shadowed(&mut self, item: &Item, client: &Client, first: &Item, earlier: &Client) {
        let what = format!(
            "the client {:?} can never be anyone: whoever fits it fits {:?}, at {}, which comes first",
            client.name, earlier.name, first.place
        );
        let instead = if client.shadows(earlier) {
            "make one of the two, or give them different users or groups".to_owned()
        } else {
            format!("move it above {:?}, or remove it", earlier.name)
        };
        self.mistake(item.place.clone(), what, instead);
    }

    fn without_effect(&mut self, item: &Item, client: &Client) {
        // With all it asks for, what a call needs.
        let strict = Client { require_grant: true, require_purpose: true, ..client.clone() };
        let concerns = |name: &str, what: &Operation| match name {
            "require_grant" => strict.needs(*what).grant,
            "require_purpose" => strict.needs(*what).purpose,
            "reveals_per_minute" => *what == Operation::Detokenize,
            _ => *what == Operation::Grants,
        };
        for (name, on) in [
            ("require_grant", client.require_grant),
            ("require_purpose", client.require_purpose),
            ("grant_any_session", client.grant_any_session),
            ("reveals_per_minute", client.reveals_per_minute.is_some()),
        ] {
            let has_some = client.operations.iter().any(|what| concerns(name, what));
            let Some(place) = item.place_of(name).filter(|_| on && !has_some) else { continue };
            let concerned = Operation::GRANTABLE.into_iter().filter(|what| concerns(name, what));
            let words: Vec<&str> = concerned.map(Operation::as_str).collect();
            let words = words.join(" or ");
            let what = format!("clients.{name} has no effect without the operation {words}");
            self.mistake(place.clone(), what, format!("remove it, or add {words} to operations"));
        }
    }
}
