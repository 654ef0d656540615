//! Dotted paths into a JSON value: `user.email`, with `\.` for a dot in a key and `\\` for a
//! backslash.

/// The selected paths, as a tree of keys.
#[derive(Default)]
pub(in super::super) struct Paths {
    /// Which of the selected columns ends here.
    pub(super) column: Option<usize>,
    /// A column below here, to name in errors about this place.
    pub(super) first_below: usize,
    /// Where it goes on.
    pub(super) keys: Vec<(Vec<u8>, Paths)>,
}

impl Paths {
    /// Parses the selected paths, or says which one is wrong and why.
    pub(in super::super) fn parse(columns: &[String]) -> Result<Self, String> {
        let mut root = Self::default();
        for (column, path) in columns.iter().enumerate() {
            root.insert(&split(path)?, column).map_err(|why| format!("path {path}: {why}"))?;
        }
        Ok(root)
    }

    fn insert(&mut self, keys: &[Vec<u8>], column: usize) -> Result<(), &'static str> {
        let Some((key, rest)) = keys.split_first() else {
            self.column = Some(column);
            return match self.keys.is_empty() {
                true => Ok(()),
                false => Err("another path goes on below it"),
            };
        };
        let index = self.keys.iter().position(|(known, _)| known == key);
        let index = index.unwrap_or_else(|| {
            self.keys.push((key.clone(), Self { first_below: column, ..Self::default() }));
            self.keys.len() - 1
        });
        let next = &mut self.keys[index].1;
        match (next.column.is_some(), rest.is_empty()) {
            (true, true) => Err("it is given twice"),
            (true, false) => Err("another path ends above it"),
            _ => next.insert(rest, column),
        }
    }

    /// The column to name in errors about this place.
    pub(super) fn label(&self) -> usize {
        self.column.unwrap_or(self.first_below)
    }
}

fn split(path: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut keys = vec![String::new()];
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        let literal = match character {
            '.' => {
                keys.push(String::new());
                continue;
            }
            '\\' => characters.next().filter(|escaped| matches!(escaped, '.' | '\\')),
            other => Some(other),
        };
        let literal = literal.ok_or_else(|| {
            format!("path {path}: a backslash escapes a dot or a backslash, nothing else")
        })?;
        if let Some(key) = keys.last_mut() {
            key.push(literal);
        }
    }
    if keys.iter().any(String::is_empty) {
        return Err(format!("path {path:?}: a key between dots is empty"));
    }
    Ok(keys.into_iter().map(String::into_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(columns: &[&str]) -> Result<Paths, String> {
        Paths::parse(&columns.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn splits_at_dots_and_honours_escapes() {
        assert_eq!(split("user.email").unwrap(), [b"user".to_vec(), b"email".to_vec()]);
        assert_eq!(split(r"a\.b.c\\d").unwrap(), [b"a.b".to_vec(), br"c\d".to_vec()]);
    }

    #[test]
    fn refuses_paths_that_select_nothing_or_overlap() {
        for wrong in [&["a..b"][..], &[""], &["a."], &[r"a\b"], &[r"a\"]] {
            assert!(paths(wrong).is_err(), "{wrong:?}");
        }
        for overlap in [["a", "a"], ["a.b", "a"], ["a", "a.b"]] {
            assert!(paths(&overlap).is_err(), "{overlap:?}");
        }
        assert!(paths(&["a.b", "a.c", "d"]).is_ok());
    }
}
