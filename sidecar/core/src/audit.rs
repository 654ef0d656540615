//! The audit trail: its lines, how each holds the one before, and what a reader of them can prove.
//!
//! A line is one JSON object. Its first members say where it belongs, its last one is its hash:
//!
//! ```text
//! {"v":1,"chain":"<32 hex>","seq":7, … ,"hash":"<64 hex>"}
//! hash = SHA-256(hash of the line before, 32 bytes ‖ this line up to `,"hash"`)
//! ```
//!
//! A process begins a chain of its own: its first line, number 0, is an event `begin`, whose line before is 32 zeros. Its last
//! one is an event `end`, which the next process writes for one that was killed: nothing may follow it. Files
//! are cut between lines; the first line of each file but a chain's first is an event `resume`, which says with `previous`
//! the hash of the line before. So a file proves itself alone, and with the one before it also that nothing between them is
//! missing.
//!
//! The hash (FIPS 180-4) takes no key: whoever can write all files of a chain can make another one that is whole. What
//! that does not fit any more are the anchors, heads of the chain that lie in storage, where the first to be written stays.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use sha2::{Digest, Sha256};
use thiserror::Error;

/// A hash of a line.
pub type Head = [u8; 32];

/// Names a chain: random.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(pub [u8; 16]);

impl ChainId {
    /// Reads the text of one.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text.as_bytes()).map(Self)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The end of a chain, to which lines are added.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    id: ChainId,
    next: u64,
    head: Head,
}

impl Chain {
    /// Of no lines yet.
    pub fn new(id: ChainId) -> Self {
        Self { id, next: 0, head: [0; 32] }
    }

    /// Of which that line was the last so far.
    pub fn behind(line: &Line<'_>) -> Self {
        Self { id: line.chain, next: line.seq + 1, head: line.hash }
    }

    /// Adds its last line.
    pub fn end(&mut self, lines: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
        self.add(lines, |line| {
            line.extend_from_slice(END.as_bytes());
            members(line);
        });
    }

    /// Its name.
    pub fn id(&self) -> ChainId {
        self.id
    }

    /// The number of its next line.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The hash of its last line.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Adds a line behind `lines`, which has the members that `members` writes, each with a comma before it.
    pub fn add(&mut self, lines: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
        let from = lines.len();
        lines.extend_from_slice(BEGIN);
        push_hex(lines, &self.id.0);
        lines.extend_from_slice(SEQ);
        push_decimal(lines, self.next);
        members(lines);
        self.head = hash(&self.head, &lines[from..]);
        self.next += 1;
        lines.extend_from_slice(HASH);
        push_hex(lines, &self.head);
        lines.extend_from_slice(b"\"}\n");
    }
}

const BEGIN: &[u8] = b"{\"v\":1,\"chain\":\"";
const SEQ: &[u8] = b"\",\"seq\":";
const HASH: &[u8] = b",\"hash\":\"";
/// Of the last line of a chain, behind its number.
pub const END: &str = ",\"event\":\"end\"";
/// Of a line that resumes a chain in another file, behind its number.
pub const RESUME: &str = ",\"event\":\"resume\",\"previous\":\"";
/// From `,"hash":"` to the end.
const TAIL: usize = HASH.len() + 64 + 2;

fn hash(before: &Head, line: &[u8]) -> Head {
    Sha256::new_with_prefix(before).chain_update(line).finalize().into()
}

/// A line, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Where it belongs.
    pub chain: ChainId,
    /// Its number there.
    pub seq: u64,
    /// What it says its hash is.
    pub hash: Head,
    /// What a line that resumes a chain says of the one before.
    previous: Option<Head>,
    /// Whether its chain ends with it.
    pub ends: bool,
    hashed: &'a [u8],
}

impl<'a> Line<'a> {
    /// Whether this may be how a line begins.
    pub fn is_begun(piece: &[u8]) -> bool {
        piece.starts_with(BEGIN) || BEGIN.starts_with(piece)
    }

    /// The last line among some bytes, whatever is behind it.
    pub fn last_of(bytes: &'a [u8]) -> Option<Self> {
        bytes.split(|byte| *byte == b'\n').rev().find_map(Self::parse)
    }

    /// Takes a line apart, without its end of line.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (hashed, tail) = line.split_at(line.len().checked_sub(TAIL)?);
        let hash = tail.strip_prefix(HASH)?.strip_suffix(b"\"}")?;
        let rest = hashed.strip_prefix(BEGIN)?;
        let (chain, rest) = rest.split_at_checked(32)?;
        let rest = rest.strip_prefix(SEQ)?;
        let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        let (seq, members) = rest.split_at(digits);
        let seq: u64 = str::from_utf8(seq).ok()?.parse().ok()?;
        let previous = match members.strip_prefix(RESUME.as_bytes()) {
            Some(previous) => Some(unhex(previous.get(..64)?)?),
            None => None,
        };
        let ends = members.starts_with(END.as_bytes());
        let (chain, hash) = (ChainId(unhex(chain)?), unhex(hash)?);
        Some(Self { chain, seq, hash, previous, ends, hashed })
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Broken {
    /// It is not of this form.
    #[error("it is no line of an audit trail")]
    Form,
    /// Its hash does not fit it and the line before.
    #[error("its hash does not fit: it, or the line before it, was changed")]
    Changed,
    /// Lines before it are missing.
    #[error("the lines {from} to {to} of its chain are missing before it")]
    Missing {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// A line of that number was there already, and another one.
    #[error("its chain has another line of the same number before it")]
    Twice,
    /// Lines before it stood there already, and a sink that begins again goes on from there to its end.
    #[error(
        "lines of its chain were put in before it: line {last} there should be followed by line {next}"
    )]
    Inserted {
        /// The last of them.
        last: u64,
        /// What a sink would have written behind it.
        next: u64,
    },
    /// Its chain had ended.
    #[error("its chain had ended with the line before it")]
    Ended,
    /// Nothing proves it: it neither begins nor resumes its chain, nor does it follow a line that is there.
    #[error("it neither begins nor resumes its chain, and the file before this one is not there")]
    Unproven,
    /// An anchor in storage says that another line stood there.
    #[error("storage holds another hash for it: the chain was written anew")]
    Anchor,
}

/// The heads that storage holds of a chain, by the number of their line.
pub type Anchors = HashMap<ChainId, HashMap<u64, Head>>;

/// Reads the lines of any number of chains, each in order.
#[derive(Default)]
pub struct Verifier {
    anchors: Anchors,
    chains: HashMap<ChainId, Read>,
}

/// Lines of which it is known what they were: so many may come twice.
const REMEMBERED: usize = 65_536;

/// How far a chain was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// Its first line that was read.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// How many of its anchors were met.
    pub anchored: u64,
    /// How far lines that came twice have come; none where what comes is new.
    pub again: Option<u64>,
    ended: bool,
    /// The hashes of the last lines, and of the one before them.
    heads: VecDeque<Head>,
}

impl Read {
    fn begin(seq: u64, before: Head) -> Self {
        let heads = [before].into();
        Self { first: seq, last: seq, anchored: 0, again: None, ended: false, heads }
    }

    /// Of its last line.
    fn head(&self) -> &Head {
        // There is one before the first.
        self.heads.back().unwrap_or(&[0; 32])
    }

    /// A line that was read already: a sink that was cut off begins again a little before, and from there goes on.
    fn repeated(&mut self, line: &Line<'_>) -> Result<(), Broken> {
        if let Some(last) = self.again.filter(|last| line.seq > last + 1) {
            return Err(Broken::Inserted { last, next: last + 1 });
        }
        self.is_same(line)?;
        self.again = Some(line.seq).filter(|seq| *seq < self.last);
        Ok(())
    }

    /// Whether it is that one, to the last byte.
    fn is_same(&self, line: &Line<'_>) -> Result<(), Broken> {
        let behind = usize::try_from(self.last - line.seq).unwrap_or(usize::MAX);
        let at = self.heads.len().checked_sub(2).and_then(|last| last.checked_sub(behind));
        let known = at.and_then(|at| Some((self.heads.get(at)?, self.heads.get(at + 1)?)));
        match known {
            Some((before, hash_then))
                if line.hash == *hash_then && hash(before, line.hashed) == line.hash =>
            {
                Ok(())
            }
            _ => Err(Broken::Twice),
        }
    }
}

impl Verifier {
    /// With what storage holds.
    pub fn new(anchors: Anchors) -> Self {
        Self { anchors, chains: HashMap::new() }
    }

    /// Reads the next line.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let line = Line::parse(bytes).ok_or(Broken::Form)?;
        let (before, new) = match self.chains.get_mut(&line.chain) {
            Some(read) if line.seq <= read.last || read.again.is_some() => {
                return read.repeated(&line);
            }
            Some(read) if line.seq > read.last + 1 => {
                return Err(Broken::Missing { from: read.last + 1, to: line.seq - 1 });
            }
            Some(read) if read.ended => return Err(Broken::Ended),
            Some(read) => (*read.head(), None),
            None => {
                let before = match line.previous {
                    Some(previous) => previous,
                    None if line.seq == 0 => [0; 32],
                    None => return Err(Broken::Unproven),
                };
                (before, Some(Read::begin(line.seq, before)))
            }
        };
        if hash(&before, line.hashed) != line.hash || line.previous.is_some_and(|it| it != before) {
            return Err(Broken::Changed);
        }
        let mut anchored = 0;
        if let Some(anchor) = self.anchors.get(&line.chain).and_then(|all| all.get(&line.seq)) {
            if *anchor != line.hash {
                return Err(Broken::Anchor);
            }
            anchored = 1;
        }
        if let Some(new) = new {
            self.chains.insert(line.chain, new);
        }
        if let Some(read) = self.chains.get_mut(&line.chain) {
            read.last = line.seq;
            read.ended = line.ends;
            read.anchored += anchored;
            if read.heads.len() > REMEMBERED {
                read.heads.pop_front();
            }
            read.heads.push_back(line.hash);
        }
        Ok(())
    }

    /// The chains that were read, by name.
    pub fn chains(&self) -> Vec<(ChainId, Read)> {
        let mut chains: Vec<_> = self.chains.iter().map(|(id, read)| (*id, read.clone())).collect();
        chains.sort_unstable_by_key(|(id, _)| *id);
        chains
    }

    /// The chains whose end is missing, as the anchors say: the last line that was read, and the last that was anchored.
    pub fn cut_off(&self) -> Vec<(ChainId, u64, u64)> {
        let last = |id: &ChainId| self.anchors.get(id).and_then(|all| all.keys().max().copied());
        let mut cut: Vec<_> = self
            .chains
            .iter()
            .filter_map(|(id, read)| Some((*id, read.last, last(id)?)))
            .filter(|(_, read, anchored)| read < anchored)
            .collect();
        cut.sort_unstable();
        cut
    }

    /// The chains that were read and of which no line is one that storage holds an anchor of.
    pub fn unanchored(&self) -> Vec<ChainId> {
        let mut chains: Vec<_> =
            self.chains.iter().filter(|(_, it)| it.anchored == 0).map(|(id, _)| *id).collect();
        chains.sort_unstable();
        chains
    }

    /// The chains of which storage holds anchors and no line was read.
    pub fn absent(&self) -> Vec<ChainId> {
        let mut absent: Vec<_> =
            self.anchors.keys().filter(|id| !self.chains.contains_key(id)).copied().collect();
        absent.sort_unstable();
        absent
    }
}

/// Appends bytes in lower-case hexadecimal.
pub fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Appends a number in decimal.
pub fn push_decimal(text: &mut Vec<u8>, number: u64) {
    let (mut digits, mut at, mut left) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[at..]);
}

/// Appends a JSON string (RFC 8259), quotes included.
pub fn push_string(text: &mut Vec<u8>, string: &str) {
    text.push(b'"');
    for byte in string.bytes() {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
            ..0x20 | 0x7f => {
                text.extend_from_slice(b"\\u00");
                push_hex(text, &[byte]);
            }
            _ => text.push(byte),
        }
    }
    text.push(b'"');
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    // Digits are text.
    String::from_utf8(text).unwrap_or_default()
}

fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Reads a head's text.
pub fn parse_head(text: &str) -> Option<Head> {
    unhex(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: ChainId = ChainId([7; 16]);

    /// A chain of so many lines, resumed before each of some.
    fn lines(count: u64, resumed: &[u64]) -> (Vec<Vec<u8>>, Chain) {
        let (mut chain, mut all) = (Chain::new(ID), Vec::new());
        for number in 0..count {
            let mut line = Vec::new();
            let head = *chain.head();
            chain.add(&mut line, |line| {
                if resumed.contains(&number) {
                    line.extend_from_slice(RESUME.as_bytes());
                    push_hex(line, &head);
                    line.push(b'"');
                } else {
                    line.extend_from_slice(b",\"op\":\"detokenize\"");
                }
            });
            assert_eq!(line.pop(), Some(b'\n'));
            all.push(line);
        }
        (all, chain)
    }

    fn read(verifier: &mut Verifier, lines: &[Vec<u8>]) -> Result<(), (usize, Broken)> {
        lines
            .iter()
            .enumerate()
            .try_for_each(|(at, line)| verifier.read(line).map_err(|broken| (at, broken)))
    }

    #[test]
    fn a_line_is_pinned() {
        let (lines, _) = lines(2, &[]);
        assert_eq!(
            lines.iter().map(|line| str::from_utf8(line).unwrap()).collect::<Vec<_>>(),
            [
                "{\"v\":1,\"chain\":\"07070707070707070707070707070707\",\"seq\":0,\"op\":\"detokenize\",\"hash\":\"49633bbaf1043c7974d8e2fd242d90056d021b280ea102c0b6ece869f5821254\"}",
                "{\"v\":1,\"chain\":\"07070707070707070707070707070707\",\"seq\":1,\"op\":\"detokenize\",\"hash\":\"1036b1c7cd599761865731eb3e8e6bc8b3e722218465314ff1f705034fab37ed\"}",
            ]
        );
    }

    #[test]
    fn a_chain_is_whole_over_its_files_and_a_file_alone() {
        let (lines, chain) = lines(10, &[4, 7]);
        let mut verifier = Verifier::default();
        assert_eq!(read(&mut verifier, &lines), Ok(()));
        let (id, all) = &verifier.chains()[0];
        assert_eq!((*id, all.first, all.last, all.head()), (ID, 0, 9, chain.head()));
        for from in [4, 7] {
            let mut verifier = Verifier::default();
            assert_eq!(read(&mut verifier, &lines[from..]), Ok(()));
        }
        assert_eq!(read(&mut Verifier::default(), &lines[5..]), Err((0, Broken::Unproven)));
    }

    #[test]
    fn what_was_taken_out_or_put_in_is_named() {
        let (whole, _) = lines(10, &[]);
        let without = |from, to| {
            let mut lines = whole.clone();
            lines.drain(from..to);
            read(&mut Verifier::default(), &lines)
        };
        assert_eq!(without(3, 5), Err((3, Broken::Missing { from: 3, to: 4 })));
        assert_eq!(without(9, 10), Ok(()), "that its end is missing no chain can say");
        let mut twice = whole.clone();
        for (at, line) in whole[2..5].iter().enumerate() {
            twice.insert(5 + at, line.clone());
        }
        assert_eq!(read(&mut Verifier::default(), &twice), Ok(()), "written twice by a sink");
        // A sink that was cut off twice begins again each time.
        let places = [0, 1, 2, 3, 1, 2, 1, 2, 3, 4, 5];
        let again: Vec<_> = places.iter().map(|at| whole[*at].clone()).collect();
        assert_eq!(read(&mut Verifier::default(), &again), Ok(()));
        // Nobody but who puts lines in leaves them before their end.
        for (places, at, last) in [
            (vec![0, 1, 2, 3, 1, 4], 5, 1),
            (vec![0, 1, 2, 3, 1, 1, 1, 4], 7, 1),
            (vec![0, 1, 2, 3, 0, 2], 5, 0),
        ] {
            let lines: Vec<_> = places.iter().map(|at| whole[*at].clone()).collect();
            let inserted = Broken::Inserted { last, next: last + 1 };
            assert_eq!(read(&mut Verifier::default(), &lines), Err((at, inserted)));
        }
        // With the number and the hash of one that was there.
        let text = String::from_utf8(whole[4].clone()).unwrap();
        for forged in ["\"delete\"", "\"detokenize\",\"code\":\"forged\""] {
            let mut lines = whole.clone();
            lines.insert(5, text.replace("\"detokenize\"", forged).into_bytes());
            assert_eq!(read(&mut Verifier::default(), &lines), Err((5, Broken::Twice)));
        }
        let mut form = whole;
        form[2] = b"{}".to_vec();
        assert_eq!(read(&mut Verifier::default(), &form), Err((2, Broken::Form)));
    }

    #[test]
    fn nothing_follows_the_end_of_a_chain() {
        let (mut whole, mut chain) = lines(3, &[]);
        for _ in 0..2 {
            let mut line = Vec::new();
            chain.end(&mut line, |line| line.extend_from_slice(b",\"time\":\"now\""));
            line.pop();
            whole.push(line);
        }
        let mut verifier = Verifier::default();
        assert_eq!(read(&mut verifier, &whole[..4]), Ok(()));
        assert_eq!(verifier.read(&whole[4]), Err(Broken::Ended));
        assert_eq!(verifier.read(&whole[2]), Ok(()), "what a sink wrote twice");
        let behind = Chain::behind(&Line::parse(&whole[2]).unwrap());
        assert_eq!((behind.id(), behind.next()), (ID, 3));
    }

    #[test]
    fn anchors_find_a_chain_that_was_written_anew_and_one_that_was_cut_off() {
        let (whole, _) = lines(10, &[]);
        let hash = |at: usize| Line::parse(&whole[at]).unwrap().hash;
        let anchors = |heads: &[(u64, Head)]| {
            Anchors::from([(ID, heads.iter().copied().collect::<HashMap<_, _>>())])
        };
        let mut verifier = Verifier::new(anchors(&[(4, hash(4)), (8, hash(8))]));
        assert_eq!(read(&mut verifier, &whole), Ok(()));
        assert_eq!((verifier.chains()[0].1.anchored, verifier.cut_off()), (2, vec![]));
        let mut cut = Verifier::new(anchors(&[(4, hash(4)), (8, hash(8))]));
        assert_eq!(read(&mut cut, &whole[..7]), Ok(()));
        assert_eq!(cut.cut_off(), [(ID, 6, 8)]);
        let mut anew = Verifier::new(anchors(&[(4, hash(5))]));
        assert_eq!(read(&mut anew, &whole), Err((4, Broken::Anchor)));
        let other = ChainId([8; 16]);
        let elsewhere = Verifier::new(Anchors::from([(other, HashMap::new())]));
        assert_eq!(elsewhere.absent(), [other]);
        let mut renamed = Verifier::new(Anchors::from([(other, HashMap::new())]));
        assert_eq!(read(&mut renamed, &whole), Ok(()));
        assert_eq!(renamed.unanchored(), [ID]);
        assert_eq!(cut.unanchored(), []);
    }

    #[test]
    fn strings_are_json() {
        let text = "a\"b\\c\u{1}\n\u{7f}é";
        let mut json = Vec::new();
        push_string(&mut json, text);
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        assert!(json.iter().all(|c| !c.is_ascii_control()));
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_found(at in 0usize..2_000, flip in 1u8..=255) {
            let (mut lines, _) = lines(8, &[3]);
            let length: usize = lines.iter().map(Vec::len).sum();
            let mut place = at % length;
            let line = lines.iter_mut().find(|line| {
                let here = place < line.len();
                if !here {
                    place -= line.len();
                }
                here
            });
            line.unwrap()[place] ^= flip;
            prop_assert!(read(&mut Verifier::default(), &lines).is_err());
        }

        #[test]
        fn numbers_are_decimal(number: u64) {
            let mut text = Vec::new();
            push_decimal(&mut text, number);
            prop_assert_eq!(String::from_utf8(text).unwrap(), number.to_string());
        }

        #[test]
        fn nothing_makes_it_panic(line: Vec<u8>) {
            prop_assert!(Line::parse(&line).is_none());
        }
    }
}
