//! What the processes before have left in the spool: whole lines, synced, with an end behind the last one; and the ends of their
//! chains, which are kept in a file there until they are anchored, however many starts that takes. Nothing else would
//! know of them once the sinks have taken their lines.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use lunasec_core::{
    audit::{Chain, ChainId, Line, hex, parse_head},
    limits,
};

use super::{end_of, line, spool::Synced, whole_lines};
use crate::files;

/// Bytes of each segment, by its number.
pub(super) type Segments = BTreeMap<u64, u64>;

pub(super) fn file_name(segment: u64) -> String {
    format!("{segment:016}.jsonl")
}

/// Makes what is left as safe as what is written from now on, and ends the chain of a process that was killed, so that
/// nobody can add to it.
pub(super) fn settle(directory: &Path, now: &str) -> io::Result<Segments> {
    let mut segments = found(directory)?;
    for (number, length) in &mut segments {
        let path = directory.join(file_name(*number));
        let file = OpenOptions::new().read(true).append(true).open(&path)?;
        let whole = whole_lines(&file)?;
        // Half a line is what a kill, or a loss of power, has cut off.
        if whole < *length {
            file.set_len(whole)?;
            *length = whole;
        }
        if whole == 0 {
            fs::remove_file(&path)?;
            continue;
        }
        // Its process may have been gone before it was.
        file.sync_data()?;
    }
    segments.retain(|_, length| *length > 0);
    while let Some(mut last) = segments.last_entry() {
        let path = directory.join(file_name(*last.key()));
        let end = end_of(&path)?;
        if let Some(line) = Line::last_of(&end) {
            if !line.ends {
                *last.get_mut() += close(&path, &line, now)?;
            }
            break;
        }
        put_aside(&path)?;
        last.remove();
    }
    // The names, too, of what a start made and could not sync.
    files::sync_directory(&directory.join(file_name(0)))?;
    Ok(segments)
}

/// What does not end with a line of a trail is given to no sink, and is removed by nobody but a person.
fn put_aside(path: &Path) -> io::Result<()> {
    let aside = files::with_suffix(path, ".damaged");
    tracing::error!(
        path = %aside.display(),
        "a segment of the audit trail's spool does not end with a line of one; it is put aside, and no sink is given it"
    );
    fs::rename(path, aside)
}

fn close(path: &Path, line: &Line, now: &str) -> io::Result<u64> {
    let (mut chain, mut last) = (Chain::behind(line), Vec::new());
    chain.end(&mut last, |line| line::text(line, "time", now));
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(&last)?;
    file.sync_data()?;
    Ok(last.len() as u64)
}

/// The numbers and lengths of the segments in a directory.
fn found(directory: &Path) -> io::Result<Segments> {
    let mut segments = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse().ok());
        // What only looks like one is not ours.
        if let Some(number) = number.filter(|number| name == *file_name(*number)) {
            segments.insert(number, entry.metadata()?.len());
        }
    }
    Ok(segments)
}

/// The ends of chains that no anchor is known of, in their order.
#[derive(Debug)]
pub(super) struct Ends {
    path: PathBuf,
    ends: Vec<Synced>,
}

impl Ends {
    /// Those that are kept, and those of segments that are there.
    pub(super) fn open(directory: &Path, segments: &Segments) -> io::Result<Self> {
        let path = directory.join("unanchored");
        let named = |error| io::Error::other(format!("{}: {error}", path.display()));
        let kept = kept(&path).map_err(named)?;
        let lines = kept.lines().count();
        let kept: Vec<_> = kept.lines().filter_map(parse).collect();
        if kept.len() < lines {
            tracing::error!(
                lines = lines - kept.len(),
                path = %path.display(),
                "the ends of chains that wait for an anchor cannot all be read; of those nothing but the lines themselves is known"
            );
        }
        let mut all = Self { path: path.clone(), ends: Vec::new() };
        let of_segments = segments.keys().filter_map(|number| {
            let end = end_of(&directory.join(file_name(*number))).ok()?;
            let line = Line::last_of(&end)?;
            Some(Synced { chain: line.chain, seq: line.seq, head: line.hash })
        });
        for end in kept.into_iter().chain(of_segments) {
            all.ends.retain(|known| known.chain != end.chain);
            all.ends.push(end);
        }
        let more = all.ends.len().saturating_sub(limits::AUDIT_LEFT);
        if more > 0 {
            tracing::error!(
                more,
                "so many chains of the audit trail were left while storage was away that these stay without an anchor"
            );
            all.ends.drain(..more);
        }
        all.keep().map_err(named)?;
        Ok(all)
    }

    pub(super) fn first(&self) -> Option<Synced> {
        self.ends.first().copied()
    }

    /// That one is anchored.
    pub(super) fn anchored(&mut self, end: Synced) {
        self.ends.retain(|known| *known != end);
    }

    /// If they cannot be kept, some are anchored again after a restart.
    pub(super) fn keep_rest(&self) {
        let _ = self.keep();
    }

    fn keep(&self) -> io::Result<()> {
        let lines: String = self.ends.iter().map(written).collect();
        let draft = files::with_suffix(&self.path, ".new");
        let mut file = File::create(&draft)?;
        file.write_all(lines.as_bytes())?;
        file.sync_data()?;
        fs::rename(&draft, &self.path)?;
        files::sync_directory(&self.path)
    }
}

fn kept(path: &Path) -> io::Result<String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
        Ok(found) if !found.is_file() => {
            return Err(io::Error::other("it is no file; move it away"));
        }
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::AUDIT_LEFT_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn written(end: &Synced) -> String {
    format!("{} {} {}\n", end.chain, end.seq, hex(&end.head))
}

fn parse(line: &str) -> Option<Synced> {
    let (chain, rest) = line.split_once(' ')?;
    let (seq, head) = rest.split_once(' ')?;
    Some(Synced { chain: ChainId::parse(chain)?, seq: seq.parse().ok()?, head: parse_head(head)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-02T03:04:05.678Z";

    /// A chain of some lines.
    fn lines(chain: u8, count: usize) -> Vec<u8> {
        let (mut chain, mut lines) = (Chain::new(ChainId([chain; 16])), Vec::new());
        for _ in 0..count {
            chain.add(&mut lines, |line| line::text(line, "time", NOW));
        }
        lines
    }

    fn write(directory: &Path, segment: u64, bytes: &[u8]) {
        fs::write(directory.join(file_name(segment)), bytes).unwrap();
    }

    #[test]
    fn what_a_loss_of_power_has_cut_is_whole_lines_again_and_ends() {
        let two = lines(1, 2);
        for torn in [0, 1, 100] {
            for nul in [0, 217, 1 << 20] {
                let directory = tempfile::tempdir().unwrap();
                let directory = directory.path();
                write(directory, 1, &two);
                let mut first = lines(2, 1)[..torn].to_vec();
                first.extend(vec![0; nul]);
                write(directory, 2, &first);
                let segments = settle(directory, NOW).unwrap();
                let one = fs::read(directory.join(file_name(1))).unwrap();
                assert!(one.starts_with(&two) && !directory.join(file_name(2)).exists());
                let last = Line::last_of(&one).unwrap();
                assert_eq!((last.seq, last.ends, one.ends_with(b"\n")), (2, true, true));
                assert_eq!(segments, Segments::from([(1, one.len() as u64)]));
                // Once is enough.
                assert_eq!(settle(directory, NOW).unwrap(), segments);
            }
        }
    }

    #[test]
    fn what_is_no_trail_is_put_aside_and_the_chain_before_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        write(directory, 1, &lines(1, 2));
        write(directory, 2, b"what somebody has put there\n");
        fs::write(directory.join("7.jsonl"), lines(3, 1)).unwrap();
        let segments = settle(directory, NOW).unwrap();
        assert_eq!(segments.keys().collect::<Vec<_>>(), [&1]);
        let one = fs::read(directory.join(file_name(1))).unwrap();
        assert!(Line::last_of(&one).unwrap().ends);
        let aside = files::with_suffix(&directory.join(file_name(2)), ".damaged");
        assert_eq!(fs::read(aside).unwrap(), b"what somebody has put there\n");
        assert_eq!(fs::read(directory.join("7.jsonl")).unwrap(), lines(3, 1));
    }

    #[test]
    fn what_cannot_be_read_of_the_ends_that_are_kept_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        write(directory, 1, &lines(1, 3));
        let segments = found(directory).unwrap();
        let kept = directory.join("unanchored");
        let known = Ends::open(directory, &segments).unwrap().ends;
        let mut garbage = b"\xff\x00 no line of it\n".to_vec();
        garbage.extend(written(&Synced { chain: ChainId([9; 16]), ..known[0] }).bytes());
        fs::write(&kept, garbage).unwrap();
        let ends = Ends::open(directory, &segments).unwrap().ends;
        assert_eq!(ends.iter().map(|end| end.chain.0[0]).collect::<Vec<_>>(), [9, 1]);
        fs::remove_file(&kept).unwrap();
        fs::create_dir(&kept).unwrap();
        let said = Ends::open(directory, &segments).unwrap_err().to_string();
        assert!(said.contains("unanchored") && said.contains("no file"), "{said}");
    }

    #[test]
    fn half_a_line_is_cut_off_in_the_middle_of_the_spool_too() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (lines(1, 2), lines(2, 1));
        write(directory.path(), 1, &one[..one.len() - 7]);
        write(directory.path(), 2, &two);
        let segments = settle(directory.path(), NOW).unwrap();
        let whole = one.len() as u64 / 2;
        assert_eq!(segments[&1], whole);
        assert!(segments[&2] > two.len() as u64);
    }

    #[test]
    fn ends_are_kept_until_they_are_anchored_also_without_their_segments() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        write(directory, 1, &lines(1, 3));
        write(directory, 2, &lines(2, 2));
        let segments = found(directory).unwrap();
        let seqs = |ends: &Ends| -> Vec<_> {
            ends.ends.iter().map(|end| (end.chain.0[0], end.seq)).collect()
        };
        assert_eq!(seqs(&Ends::open(directory, &segments).unwrap()), [(1, 2), (2, 1)]);
        // The sinks have taken all of it; another process was there for a moment.
        write(directory, 3, &lines(3, 1));
        let mut ends = Ends::open(directory, &Segments::from([(3, 1)])).unwrap();
        assert_eq!(seqs(&ends), [(1, 2), (2, 1), (3, 0)]);
        ends.anchored(ends.first().unwrap());
        ends.keep_rest();
        assert_eq!(seqs(&Ends::open(directory, &Segments::new()).unwrap()), [(2, 1), (3, 0)]);
        // It has grown since.
        write(directory, 2, &lines(2, 4));
        let grown = Ends::open(directory, &segments).unwrap();
        assert_eq!(seqs(&grown), [(3, 0), (1, 2), (2, 3)]);
    }
}
