//! Objects of a cluster, each change with a version of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Resource, namespace, name.
pub type Key = (String, String, String);

#[derive(Default)]
pub struct Store {
    pub objects: BTreeMap<Key, Value>,
    pub changes: Vec<(u64, &'static str, Key, Value)>,
    /// Reviews that were asked for, and how they were answered.
    pub evictions: Vec<(String, u16)>,
    /// Pods that a budget holds, and how often yet.
    pub budgets: BTreeMap<String, u32>,
    /// Writes that were refused because somebody else wrote first.
    pub conflicts: usize,
    /// A kind of objects that nobody is answered about.
    pub deaf_to: Option<&'static str>,
    version: u64,
}

/// Why not: a code, and words.
pub type Refused = (u16, &'static str);

impl Store {
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(resource.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    pub fn of(&self, resource: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |(key, _)| key.0 == resource).map(|(_, object)| object)
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn create(
        &mut self,
        resource: &str,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Refused> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = (resource.to_owned(), namespace.to_owned(), name);
        if self.objects.contains_key(&key) {
            return Err((409, "AlreadyExists"));
        }
        Ok(self.write("ADDED", key, object))
    }

    pub fn replace(
        &mut self,
        resource: &str,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Result<Value, Refused> {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let there = self.objects.get(&key).ok_or((404, "NotFound"))?;
        let version = &object["metadata"]["resourceVersion"];
        if !version.is_null() && *version != there["metadata"]["resourceVersion"] {
            self.conflicts += 1;
            return Err((409, "Conflict"));
        }
        Ok(self.write("MODIFIED", key, object))
    }

    pub fn patch(
        &mut self,
        resource: &str,
        namespace: &str,
        name: &str,
        patch: &[u8],
    ) -> Result<Value, Refused> {
        let mut object = self.get(resource, namespace, name).ok_or((404, "NotFound"))?.clone();
        let patch: json_patch::Patch =
            serde_json::from_slice(patch).map_err(|_| (400, "BadRequest"))?;
        json_patch::patch(&mut object, &patch.0).map_err(|_| (422, "Invalid"))?;
        Ok(self.write(
            "MODIFIED",
            (resource.to_owned(), namespace.to_owned(), name.to_owned()),
            object,
        ))
    }

    pub fn evict(&mut self, namespace: &str, name: &str, body: &Value) -> Result<Value, Refused> {
        let code = self.evicted(namespace, name, body);
        self.evictions.push((name.to_owned(), code));
        if code == 201 {
            Ok(json!({"kind": "Status", "status": "Success", "code": 201}))
        } else {
            Err((code, "Refused"))
        }
    }

    fn evicted(&mut self, namespace: &str, name: &str, body: &Value) -> u16 {
        let key = ("pods".to_owned(), namespace.to_owned(), name.to_owned());
        let Some(pod) = self.objects.get(&key) else { return 404 };
        if body["kind"] != "Eviction" || body["apiVersion"] != "policy/v1" {
            return 400;
        }
        // One that does not say which pod it means is not what is tested here.
        if body["deleteOptions"]["preconditions"]["uid"] != pod["metadata"]["uid"] {
            return 409;
        }
        if let Some(left) = self.budgets.get_mut(name).filter(|left| **left > 0) {
            *left -= 1;
            return 429;
        }
        self.remove("pods", namespace, name);
        201
    }

    pub fn remove(&mut self, resource: &str, namespace: &str, name: &str) -> Value {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(mut gone) = self.objects.remove(&key) else { return Value::Null };
        self.version += 1;
        gone["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.changes.push((self.version, "DELETED", key, gone.clone()));
        gone
    }

    fn write(&mut self, what: &'static str, key: Key, mut object: Value) -> Value {
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = self.version.to_string().into();
        metadata["name"] = key.2.clone().into();
        if !key.1.is_empty() {
            metadata["namespace"] = key.1.clone().into();
        }
        if metadata["uid"].is_null() {
            metadata["uid"] = format!("uid-{}", self.version).into();
        }
        self.changes.push((self.version, what, key.clone(), object.clone()));
        self.objects.insert(key, object.clone());
        object
    }
}
