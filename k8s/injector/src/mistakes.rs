//! What is wrong with a pod, in words. As many and as long as somebody reads: a pod can be wrong in a hundred thousand
//! places at once, and whoever made it chooses the names that are repeated.

const MOST: usize = 20;
const BYTES: usize = 512;

/// Words, and how many more there would be.
#[derive(Debug, Default)]
pub struct Mistakes {
    words: Vec<String>,
    more: usize,
}

impl Mistakes {
    /// One more. Words that are not shown are not made.
    pub fn add(&mut self, words: impl FnOnce() -> String) {
        if self.words.len() < MOST {
            self.words.push(cut(words()));
        } else {
            self.more += 1;
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// All that are shown, and a word about the others.
    pub fn into_words(mut self) -> Vec<String> {
        if self.more > 0 {
            self.words.push(format!("and {} more", self.more));
        }
        self.words
    }
}

impl Extend<String> for Mistakes {
    fn extend<T: IntoIterator<Item = String>>(&mut self, all: T) {
        for words in all {
            self.add(|| words);
        }
    }
}

/// What a pod says, as much of it as one mistake repeats. Names have no more.
pub fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}

/// What somebody reads of it.
pub fn cut(mut words: String) -> String {
    if words.len() > BYTES {
        words.truncate(words.floor_char_boundary(BYTES));
        words.push('…');
        // What was longer may have been megabytes.
        words.shrink_to_fit();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_and_as_long_as_somebody_reads() {
        let mut mistakes = Mistakes::default();
        assert!(mistakes.is_empty());
        mistakes.add(|| "ä".repeat(BYTES));
        mistakes.extend((0..MOST).map(|at| at.to_string()));
        mistakes.add(|| panic!("words that nobody sees are made"));
        let words = mistakes.into_words();
        assert_eq!(words.len(), MOST + 1);
        assert_eq!((words[0].len(), words[0].ends_with("ä…")), (BYTES + "…".len(), true));
        assert_eq!(words[MOST], "and 2 more");
    }
}
