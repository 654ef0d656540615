//! Follows the frames of HTTP/2 as they come in, to know whether one has begun and not ended. What
//! is wrong with them is not decided here.

/// `PRI * HTTP/2.0`, and so on.
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where in its frames a connection is.
pub struct Frames {
    /// Bytes of the preface or of a frame's payload that are yet to come.
    left: usize,
    head: [u8; HEAD_BYTES],
    filled: usize,
    /// HEADERS came and the last of their CONTINUATIONs did not.
    in_block: bool,
    /// Whole frames so far.
    count: u64,
}

impl Default for Frames {
    fn default() -> Self {
        Self { left: PREFACE_BYTES, head: [0; HEAD_BYTES], filled: 0, in_block: false, count: 0 }
    }
}

impl Frames {
    /// Takes the next bytes.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let took = if self.left > 0 { self.skip(bytes) } else { self.fill(bytes) };
            bytes = &bytes[took..];
        }
    }

    /// Whether something has begun and not ended. A connection begins with its preface and a frame.
    pub fn open(&self) -> bool {
        self.count == 0 || self.left > 0 || self.filled > 0 || self.in_block
    }

    /// How many frames have come whole.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn skip(&mut self, bytes: &[u8]) -> usize {
        let took = self.left.min(bytes.len());
        self.left -= took;
        if self.left == 0 && self.filled == HEAD_BYTES {
            self.end();
        }
        took
    }

    fn fill(&mut self, bytes: &[u8]) -> usize {
        let took = (HEAD_BYTES - self.filled).min(bytes.len());
        self.head[self.filled..self.filled + took].copy_from_slice(&bytes[..took]);
        self.filled += took;
        if self.filled == HEAD_BYTES {
            let [a, b, c, ..] = self.head;
            self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if self.left == 0 {
                self.end();
            }
        }
        took
    }

    fn end(&mut self) {
        let [_, _, _, kind, flags, ..] = self.head;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_block = flags & END_HEADERS == 0;
        }
        self.filled = 0;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        [&head[..], &vec![0; payload]].concat()
    }

    #[test]
    fn however_the_bytes_are_cut_a_frame_is_open_until_its_end() {
        let parts = [
            (vec![0; PREFACE_BYTES], true),
            (frame(4, 0, 0), false),
            (frame(HEADERS, 0, 3), true),
            (frame(CONTINUATION, 0, 0), true),
            (frame(CONTINUATION, END_HEADERS, 5), false),
            (frame(0, 0, 70_000), false),
            (frame(HEADERS, END_HEADERS | 1, 7), false),
        ];
        for step in [1, 2, 9, 10, 1_000, 100_000] {
            let mut frames = Frames::default();
            for (bytes, open) in &parts {
                let (last, before) = bytes.split_last().unwrap();
                before.chunks(step).for_each(|bytes| frames.take(bytes));
                assert!(frames.open(), "one byte is missing");
                frames.take(&[*last]);
                assert_eq!(frames.open(), *open);
            }
            assert_eq!(frames.count(), 6);
        }
        let mut whole = Frames::default();
        whole.take(&parts.iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>());
        assert_eq!((whole.open(), whole.count()), (false, 6));
    }
}
