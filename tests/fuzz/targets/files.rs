//! Whole files: what can be tokenized comes back, to the byte.
#![no_main]

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{self, Cursor, Write},
    rc::Rc,
};

use libfuzzer_sys::fuzz_target;
use lunasec_core::token::Token;
use lunasec_sidecar::cli::files::{
    self, Batches, CallError, Cell, Direction, Format, ItemError, Options, Progress, Source,
    Spelling, Target,
};

/// Values by their tokens.
#[derive(Default)]
struct Sidecar(HashMap<String, Vec<u8>>);

impl Batches for Sidecar {
    async fn tokenize(
        &mut self,
        _key: &str,
        values: &[Cell],
    ) -> Result<Vec<Result<String, ItemError>>, CallError> {
        let tokens = values.iter().map(|value| {
            let mut bytes = [0; Token::LEN];
            bytes[..8].copy_from_slice(&(self.0.len() as u64).to_le_bytes());
            let token = Token::from_random(bytes).expose_text();
            self.0.insert(token.clone(), value.0.clone());
            Ok(token)
        });
        Ok(tokens.collect())
    }

    async fn detokenize(
        &mut self,
        tokens: &[String],
    ) -> Result<Vec<Result<Cell, ItemError>>, CallError> {
        Ok(tokens.iter().map(|token| Ok(Cell(self.0[token].clone()))).collect())
    }
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Silent;

impl Progress for Silent {
    fn checking(&mut self, _: u64, _: Option<u64>) {}
    fn at(&mut self, _: u64, _: Option<u64>, _: u64) {}
    fn done(&mut self) {}
}

fn turn(options: &Options, sidecar: &mut Sidecar, bytes: &[u8]) -> Option<(Vec<u8>, Spelling)> {
    let output = Shared::default();
    let ends: (Box<dyn io::Read>, Box<dyn Write>) =
        (Box::new(Cursor::new(bytes.to_vec())), Box::new(output.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut entropy = |bytes: &mut [u8]| bytes.fill(1);
    let mut silent = Silent;
    let run = files::stream(options, sidecar, ends, &mut silent, &mut entropy);
    let summary = runtime.block_on(run).ok()?;
    Some((output.0.take(), summary.spelling))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    let (format, header) = match choice % 5 {
        0 => (Format::Csv, true),
        1 => (Format::Csv, false),
        2 => (Format::Tsv, true),
        3 => (Format::Tsv, false),
        _ => (Format::JsonLines, true),
    };
    let columns: &[&str] = match (format, header) {
        (Format::JsonLines, _) => &["a", "b.c"],
        (_, true) => &["a"],
        (_, false) => &["1", "2"],
    };
    let options = Options {
        direction: Direction::Tokenize,
        sidecar: "lunasec.sock".into(),
        namespace: None,
        session: None,
        input: Source::Stdin,
        output: Target::Stdout,
        columns: columns.iter().map(ToString::to_string).collect(),
        format: Some(format),
        delimiter: None,
        header,
        ascii: false,
        force: false,
        batch_items: 3,
        batch_bytes: 1_000,
    };
    let mut sidecar = Sidecar::default();
    let Some((tokens, spelling)) = turn(&options, &mut sidecar, bytes) else { return };
    let back = Options { direction: Direction::Detokenize, ..options };
    let (again, _) =
        turn(&back, &mut sidecar, &tokens).expect("what was tokenized can be turned back");
    if spelling.respelled == 0 && spelling.needs_ascii == 0 {
        assert_eq!(again.escape_ascii().to_string(), bytes.escape_ascii().to_string());
    }
});
