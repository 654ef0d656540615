//! How large a pod may be. The text of one is bounded by who reads it; what is made of the text is bounded here, because
//! a container of ten bytes takes kilobytes of memory, and whoever may create a pod in one namespace must not be able to
//! stop the pods of all others.

use serde_json::Value;

/// Values in the text of one pod. One with a hundred containers of thirty variables each has half of that.
const VALUES: usize = 64 << 10;
/// Containers of each kind, and volumes.
const ENTRIES: usize = 1_000;

/// What is wrong with a text, before anything is made of it.
pub fn of_text(text: &[u8]) -> Result<(), String> {
    let (mut values, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_text = false,
            (true, _) => {}
            (false, b'"') => in_text = true,
            (false, b',' | b'[' | b'{') => values += 1,
            (false, _) => {}
        }
    }
    if values <= VALUES {
        return Ok(());
    }
    Err(format!("it has {values} values; a pod with a sidecar may have {VALUES}"))
}

/// What is wrong with a pod, before it is read as one.
pub fn of_pod(pod: &Value) -> Result<(), String> {
    for list in ["containers", "initContainers", "ephemeralContainers", "volumes"] {
        let many = pod["spec"][list].as_array().map_or(0, Vec::len);
        if many > ENTRIES {
            return Err(format!("its spec.{list} has {many} entries; {ENTRIES} are allowed"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_counted_and_what_stands_in_texts_is_not() {
        let list = |values: usize| serde_json::to_vec(&vec![0; values]).unwrap();
        assert!(of_text(&list(VALUES)).is_ok());
        assert!(of_text(&list(VALUES + 1)).unwrap_err().contains("65537 values"));
        assert!(of_text("{".repeat(VALUES + 1).as_bytes()).is_err());
        let text = serde_json::to_vec(&json!({"a": "[,{\\\",".repeat(VALUES)})).unwrap();
        assert!(of_text(&text).is_ok());
        // After a text that ends with what looks like an escape, counting goes on.
        let after = format!("[\"\\\\\"{}", ",0".repeat(VALUES));
        assert!(of_text(after.as_bytes()).is_err());
    }

    #[test]
    fn entries_of_each_list_are_counted() {
        for list in ["containers", "initContainers", "ephemeralContainers", "volumes"] {
            let pod = |many: usize| json!({"spec": {list: vec![json!({"name": "a"}); many]}});
            assert!(of_pod(&pod(ENTRIES)).is_ok());
            assert!(of_pod(&pod(ENTRIES + 1)).unwrap_err().contains(list));
        }
    }
}
