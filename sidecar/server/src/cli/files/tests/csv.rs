//! Tables: every byte that is not a selected cell survives.

use proptest::prelude::*;

use super::{
    super::{Direction, Format, Options},
    fake::Sidecar,
    message, options, round_trip, stream, stream_in_pieces,
};

fn by_name(columns: &[&str]) -> Options {
    options(Direction::Tokenize, Format::Csv, columns)
}

fn by_number(columns: &[&str]) -> Options {
    Options { header: false, ..by_name(columns) }
}

/// Tokenizes; tokens appear as `<0>`, `<1>`, … in the order they were made.
fn tokenized(options: &Options, bytes: &[u8]) -> String {
    let mut sidecar = Sidecar::default();
    let (out, _) = stream(options, &mut sidecar, bytes).unwrap();
    let mut text = out.escape_ascii().to_string();
    for (number, token) in sidecar.tokens().iter().enumerate() {
        text = text.replace(token, &format!("<{number}>"));
    }
    text
}

#[test]
fn replaces_cells_and_nothing_else() {
    let options = by_name(&["card"]);
    let cases: [(&[u8], &str); 9] = [
        (b"id,card\n1,4111\n", r"id,card\n1,<0>\n"),
        (b"id,card\r\n1,4111\r\n2,42", r"id,card\r\n1,<0>\r\n2,<1>"),
        (b"\xef\xbb\xbfcard,id\n4111,1\n", r"\xef\xbb\xbfcard,id\n<0>,1\n"),
        (b"\xef\xbb\xbf\"card\"\n\"41\"\"11\"\n", r#"\xef\xbb\xbf\"card\"\n\"<0>\"\n"#),
        (b"\n\nid,card\n\n1, a \n\n", r"\n\nid,card\n\n1,<0>\n\n"),
        (b"id,card\n1,\n2,\"\"\n3\n4,4,x,y\n", r#"id,card\n1,\n2,\"\"\n3\n4,<0>,x,y\n"#),
        (b"id,card\n\"a\nb\",\"c\r\nd\"\n", r#"id,card\n\"a\nb\",\"<0>\"\n"#),
        (b"id,card\r1,a\r2,b", r"id,card\r1,<0>\r2,<1>"),
        (b"id,card\n\xff\xfe\x00,\xc3\x28\n", r"id,card\n\xff\xfe\x00,<0>\n"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(tokenized(&options, bytes), expected);
        round_trip(&options, bytes);
    }
}

#[test]
fn counts_rows_values_and_empty_cells() {
    let (_, summary) = round_trip(&by_name(&["a", "b"]), b"a,b\n1,\n\n\"\",2,3\n4\n");
    assert_eq!((summary.rows, summary.values, summary.empty), (3, 3, 2));
    assert_eq!((summary.resumed_at_row, summary.resumable), (None, false));
}

#[test]
fn quotes_inside_an_unquoted_cell_are_characters() {
    assert_eq!(tokenized(&by_name(&["b"]), b"a,b\n3\" pipe,5\"x\n"), r#"a,b\n3\" pipe,<0>\n"#);
    round_trip(&by_name(&["b"]), b"a,b\n1, \"x\" \n2,x\"\n");
}

#[test]
fn tabs_and_other_delimiters_split_cells() {
    let tabs = options(Direction::Tokenize, Format::Tsv, &["b"]);
    assert_eq!(tokenized(&tabs, b"a\tb\n1,2\t3,4\n"), r"a\tb\n1,2\t<0>\n");
    let semicolons = Options { delimiter: Some(b';'), ..by_name(&["b"]) };
    assert_eq!(tokenized(&semicolons, b"a;b\n1,2;3,4\n"), r"a;b\n1,2;<0>\n");
    for wrong in [b'"', b'\n', b'\r', b'a', b'-', b'7', 0xe9] {
        let options = Options { delimiter: Some(wrong), ..by_name(&["b"]) };
        assert!(message(&options, b"a").contains("a delimiter is one ASCII character"));
    }
}

#[test]
fn malformed_quotes_are_named_with_row_and_column() {
    let cases: [(&[u8], &str); 7] = [
        (b"a,b\n1,\"x\"y\n", "row 2, column b: there is text after the closing quote"),
        (b"a,b\n1,2\n\"1,2\n", "row 3, column 1: a quote is not closed"),
        (b"a,b\n1,\"2", "row 2, column 2: a quote is not closed"),
        (b"a,b\n\"x\"y\"z,4\",5\n", "row 2, column 1: the quotes are ambiguous"),
        (b"a,b\n1, \"Doe, John\"\n", "row 2, column 2: the quotes are ambiguous"),
        (b"a,b\n\t\"x\n1\",2\n", "row 2, column 1: the quotes are ambiguous"),
        (b"\"a\"x,b\n1,2\n", "row 1, column 1: there is text after the closing quote"),
    ];
    for (bytes, expected) in cases {
        let message = message(&by_name(&["b"]), bytes);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn text_after_a_closing_quote_passes_where_it_is_not_selected() {
    assert_eq!(tokenized(&by_name(&["b"]), b"a,b\n\"x\" y,2\n"), r#"a,b\n\"x\" y,<0>\n"#);
}

#[test]
fn columns_must_be_in_the_header_once() {
    let problem = |columns: &[&str], bytes: &[u8]| message(&by_name(columns), bytes);
    assert_eq!(
        problem(&["mail"], b"id,\"e\"\"mail\"\n"),
        "column mail is not in the header, which has id, e\\\"mail"
    );
    assert!(problem(&["a"], b"a,b,a\n").contains("is in the header more than once"));
    assert!(problem(&["a", "a"], b"a,b\n").contains("column a is given twice"));
    assert!(problem(&["a"], b"").contains("no header row"));
    assert!(problem(&["a"], b"\n\r\n").contains("no header row"));
    assert!(problem(&[], b"a\n").contains("name at least one column"));
    assert!(problem(&["a"], b"\xff\xfea\0").contains("UTF-16"));
    assert!(round_trip(&by_name(&["b"]), b"a,b,a\n1,2,3\n").0.starts_with(b"a,b,a\n1,lunasec-"));
}

#[test]
fn without_a_header_columns_are_numbers() {
    assert_eq!(tokenized(&by_number(&["2", "1"]), b"a,b,c\n"), r"<0>,<1>,c\n");
    for wrong in ["0", "x", "-1", ""] {
        assert!(message(&by_number(&[wrong]), b"a\n").contains("numbers from 1"));
    }
    assert_eq!(tokenized(&by_number(&["1"]), b""), "");
}

#[test]
fn refuses_what_goes_the_wrong_way_and_never_shows_a_cell() {
    let options = by_name(&["b"]);
    let (tokens, _) = round_trip(&options, b"a,b\n1,\n2,4111\n");
    let twice = message(&options, &tokens);
    assert!(twice.starts_with("row 3, column b: the cell is a token already"), "{twice}");
    let back = Options { direction: Direction::Detokenize, ..options };
    assert_eq!(message(&back, b"a,b\n1,4111\n"), "row 2, column b: the cell is not a token");
}

#[test]
fn a_value_that_would_not_read_back_is_quoted() {
    let back = Options { direction: Direction::Detokenize, ..by_name(&["b"]) };
    for value in [&b"a,b"[..], b"a\nb", b"\r", b"\"", b"\"x\"", b" \"", b"a", b"", b" a\"", b"\xff"]
    {
        let mut sidecar = Sidecar::default();
        let token = sidecar.store(value);
        let (out, _) = stream(&back, &mut sidecar, format!("b\n{token}\n").as_bytes()).unwrap();
        let (again, _) = round_trip(&by_name(&["b"]), &out);
        let values = usize::from(!value.is_empty());
        assert_eq!(again.windows(8).filter(|part| *part == b"lunasec-").count(), values);
        let quoted = out.starts_with(b"b\n\"");
        assert_eq!(quoted, !matches!(value, b"a" | b"" | b" a\"" | b"\xff"), "{value:?}");
    }
}

#[test]
fn long_rows_and_long_values_are_named() {
    let wide = [b"a,b\n1,2\n3,\"".to_vec(), vec![b'x'; 9 << 20]].concat();
    assert!(message(&by_name(&["b"]), &wide).contains("row 3: the row is longer than 8 MiB"));
    let big = [b"a,b\n1,".to_vec(), vec![b'x'; (1 << 20) + 1]].concat();
    assert!(message(&by_name(&["b"]), &big).contains("row 2, column b: the value is larger"));
    round_trip(&by_name(&["a"]), &big);
}

/// A cell as a writer would spell it.
#[derive(Clone, Debug)]
struct Model {
    quoted: bool,
    content: Vec<u8>,
}

impl Model {
    fn spell(&self, content: &[u8]) -> Vec<u8> {
        if !self.quoted {
            return content.to_vec();
        }
        let mut out = vec![b'"'];
        for &byte in content {
            out.extend(std::iter::repeat_n(byte, 1 + usize::from(byte == b'"')));
        }
        out.push(b'"');
        out
    }
}

fn cell() -> impl Strategy<Value = Model> {
    let byte =
        prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b' '), any::<u8>()];
    (any::<bool>(), prop::collection::vec(byte, 0..8)).prop_map(|(quoted, content)| {
        let special = |byte: &u8| matches!(byte, b',' | b'\r' | b'\n');
        let blank_quote = content.trim_ascii_start().starts_with(b"\"");
        Model { quoted: quoted || blank_quote || content.iter().any(special), content }
    })
}

type Row = (Vec<Model>, &'static [u8]);

fn row() -> impl Strategy<Value = Row> {
    let ends: [&[u8]; 3] = [b"\n", b"\r\n", b"\r"];
    (prop::collection::vec(cell(), 1..5), prop::sample::select(ends.to_vec()))
}

/// Spells rows; `replace` gives what stands for a selected cell that is not empty.
fn spell(rows: &[Row], last: bool, mut replace: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut out = b"h1,h2,h3\r\n".to_vec();
    for (index, (cells, end)) in rows.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let selected = column != 1 && column < 3 && !cell.content.is_empty();
            let content = if selected { replace(&cell.content) } else { cell.content.clone() };
            out.extend(if column > 0 { &b","[..] } else { b"" });
            out.extend(cell.spell(&content));
        }
        // A CR before a row that begins with LF would be one line break.
        let end: &[u8] = if *end == b"\r" && is_blank(rows.get(index + 1)) { b"\n" } else { end };
        out.extend(if index + 1 < rows.len() || last { end } else { b"" });
    }
    out
}

fn is_blank(row: Option<&Row>) -> bool {
    row.is_some_and(|(cells, _)| {
        cells.len() == 1 && !cells[0].quoted && cells[0].content.is_empty()
    })
}

proptest! {
    #[test]
    fn any_table_comes_back(rows in prop::collection::vec(row(), 0..8), last: bool, size in 1..9usize) {
        let options = by_name(&["h3", "h1"]);
        let bytes = spell(&rows, last, <[u8]>::to_vec);
        let mut sidecar = Sidecar::default();
        let (out, summary) = stream_in_pieces(&options, &mut sidecar, &bytes, size).unwrap();
        let mut tokens = sidecar.tokens().into_iter();
        let expected = spell(&rows, last, |_| tokens.next().unwrap().into_bytes());
        prop_assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
        prop_assert_eq!(tokens.next(), None);
        prop_assert_eq!(summary.values, sidecar.stored() as u64);
        let back = Options { direction: Direction::Detokenize, ..options };
        prop_assert_eq!(stream(&back, &mut sidecar, &out).unwrap().0, bytes);
    }

    #[test]
    fn where_the_chunks_end_does_not_matter(
        bytes in prop::collection::vec(prop::sample::select(b"\",\r\n a\xef".to_vec()), 0..40),
        size in 1..5usize,
        items in 1..4usize,
    ) {
        let options = Options { batch_items: items, ..by_number(&["2"]) };
        let turn = |size| {
            let turned = stream_in_pieces(&options, &mut Sidecar::default(), &bytes, size);
            turned.map_err(|error| error.to_string())
        };
        let whole = turn(usize::MAX);
        prop_assert_eq!(&turn(size), &whole);
        if whole.is_ok() {
            round_trip(&options, &bytes);
        }
    }
}
