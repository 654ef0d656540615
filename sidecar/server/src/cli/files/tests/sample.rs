//! A real table.

use super::{
    super::{Direction, Format, Options},
    options, round_trip,
};

const CUSTOMERS: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/customers-500.csv"));

#[test]
fn customers_come_back_byte_for_byte() {
    let columns = ["email", "phone", "address", "card_number"];
    let options =
        Options { batch_items: 64, ..options(Direction::Tokenize, Format::Csv, &columns) };
    let (tokens, summary) = round_trip(&options, CUSTOMERS);
    assert_eq!(summary.rows, 500);
    assert_eq!(summary.values + summary.empty, 4 * 500);
    let text = String::from_utf8(tokens).unwrap();
    let original = str::from_utf8(CUSTOMERS).unwrap();
    assert_eq!(text.matches("\r\n").count(), original.matches("\r\n").count());
    assert_eq!(text.matches("lunasec-").count() as u64, summary.values);
    assert!(!text.contains('@'), "every address is a token now");
    assert!(text.contains("Boulogne-sur-Mer,62200,ColonialVoice,lunasec-"));
}
