//! However the bytes of a connection are cut, and whatever they are, its frames are followed to the
//! same place, which is where a reader with everything at hand sees them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lunasec_sidecar::listen::frames::Frames;

const PREFACE_BYTES: usize = 24;
/// So much is compared after each piece, and not only at the end.
const SHORT: usize = 512;

fuzz_target!(|input: &[u8]| {
    let Some((steps, bytes)) = input.split_first_chunk::<4>() else { return };
    let mut frames = Frames::default();
    let mut rest = bytes;
    for step in steps.iter().cycle().map(|step| usize::from(*step) + 1) {
        let (piece, after) = rest.split_at(step.min(rest.len()));
        frames.take(piece);
        rest = after;
        if bytes.len() <= SHORT {
            let came = &bytes[..bytes.len() - rest.len()];
            assert_eq!((frames.open(), frames.count()), seen(came));
        }
        if rest.is_empty() {
            break;
        }
    }
    let mut whole = Frames::default();
    whole.take(bytes);
    for frames in [frames, whole] {
        assert_eq!((frames.open(), frames.count()), seen(bytes));
    }
});

/// Whether something has begun and not ended, and how many frames came whole.
fn seen(bytes: &[u8]) -> (bool, u64) {
    let mut rest = bytes.get(PREFACE_BYTES..).unwrap_or_default();
    let (mut in_block, mut count) = (false, 0);
    while let Some((&[a, b, c, kind, flags, ..], after)) = rest.split_first_chunk::<9>() {
        let Some(after) = after.get(u32::from_be_bytes([0, a, b, c]) as usize..) else { break };
        // HEADERS and CONTINUATION, and END_HEADERS of them.
        if matches!(kind, 1 | 9) {
            in_block = flags & 4 == 0;
        }
        (rest, count) = (after, count + 1);
    }
    (count == 0 || in_block || !rest.is_empty(), count)
}
