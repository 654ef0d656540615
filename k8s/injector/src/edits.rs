//! Changes of a pod, written down as they are made, so that the patch says them and nothing else.

use json_patch::{
    AddOperation, Patch, PatchError, PatchErrorKind, PatchOperation, ReplaceOperation,
    jsonptr::PointerBuf,
};
use serde_json::{Map, Value, json};

use crate::mistakes::short;

/// A pod that is being changed.
pub struct Edits {
    pod: Value,
    patch: Patch,
}

impl Edits {
    /// Of this pod.
    pub fn of(pod: Value) -> Self {
        Self { pod, patch: Patch(Vec::new()) }
    }

    /// The patch.
    pub fn finish(self) -> Patch {
        self.patch
    }

    /// Sets a field of an object, and makes the object where there is none.
    pub fn set(&mut self, object: &[&str], key: &str, value: Value) -> Result<(), PatchError> {
        match self.at(object) {
            Some(Value::Object(fields)) => {
                let there = fields.contains_key(key);
                let path = pointer(object.iter().copied().chain([key]));
                self.apply(if there { replace(path, value) } else { add(path, value) })
            }
            _ => {
                let fields = Map::from_iter([(key.to_owned(), value)]);
                self.apply(add(pointer(object.iter().copied()), fields.into()))
            }
        }
    }

    /// Appends to a list, and makes the list where there is none.
    pub fn append(&mut self, list: &[&str], value: Value) -> Result<(), PatchError> {
        let end = self.at(list).and_then(Value::as_array).map(Vec::len);
        match end {
            Some(_) => self.apply(add(pointer(list.iter().copied().chain(["-"])), value)),
            None => self.apply(add(pointer(list.iter().copied()), json!([value]))),
        }
    }

    /// Puts something before all else in a list, and makes the list where there is none.
    pub fn prepend(&mut self, list: &[&str], value: Value) -> Result<(), PatchError> {
        match self.at(list) {
            Some(Value::Array(_)) => {
                self.apply(add(pointer(list.iter().copied().chain(["0"])), value))
            }
            _ => self.apply(add(pointer(list.iter().copied()), json!([value]))),
        }
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.pod, |value, part| match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            other => other.get(part),
        })
    }

    fn apply(&mut self, operation: PatchOperation) -> Result<(), PatchError> {
        json_patch::patch(&mut self.pod, std::slice::from_ref(&operation))?;
        self.patch.0.push(operation);
        Ok(())
    }
}

/// Operations that one pod may ask for.
const OPERATIONS: usize = 100;
/// What may come of them: a few copies, each of what the last one made, would fill any memory.
const BYTES: usize = 256 << 10;
/// How deep it may be nested, which a few copies into themselves double each time: what looks at a value, and what drops
/// it, goes as deep as it is, and the stack is not. A container has ten.
const DEPTH: usize = 32;

/// A container with a patch, or why it cannot be made.
pub fn patched(mut container: Value, patch: &Patch) -> Result<Value, String> {
    if patch.0.len() > OPERATIONS {
        return Err(format!("it has {} operations; {OPERATIONS} are allowed", patch.0.len()));
    }
    for (at, operation) in patch.0.iter().enumerate() {
        json_patch::patch(&mut container, std::slice::from_ref(operation)).map_err(|error| {
            let path = error.path.as_str();
            format!("its operation {at} cannot be done at {}: {}", short(path), why(&error))
        })?;
        // Before anything else looks at it.
        if is_deeper(&container, DEPTH) {
            return Err(format!("its operation {at} nests deeper than {DEPTH}"));
        }
        if matches!(operation, PatchOperation::Copy(_)) && container.to_string().len() > BYTES {
            return Err(format!("its operation {at} makes a container of more than {BYTES} bytes"));
        }
    }
    Ok(container)
}

/// Goes no deeper than it has to.
fn is_deeper(value: &Value, than: usize) -> bool {
    let inner = |it: &Value| than == 0 || is_deeper(it, than - 1);
    match value {
        Value::Array(items) => items.iter().any(inner),
        Value::Object(fields) => fields.values().any(inner),
        _ => false,
    }
}

fn why(error: &PatchError) -> &'static str {
    match error.kind {
        PatchErrorKind::TestFailed => "what is there is something else",
        PatchErrorKind::InvalidPointer => "there is no such path",
        PatchErrorKind::InvalidFromPointer => "there is nothing at the path that it names as from",
        PatchErrorKind::CannotMoveInsideItself => "something cannot be moved into itself",
        _ => "it makes no sense there",
    }
}

fn pointer<'a>(parts: impl IntoIterator<Item = &'a str>) -> PointerBuf {
    PointerBuf::from_tokens(parts)
}

fn add(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path, value })
}

fn replace(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation { path, value })
}
