//! The beginning of an input: its byte order mark, its header, and what the columns mean there.

use super::{
    FileError, Format,
    csv::Csv,
    job::{Job, usage},
    json::{JsonLines, Paths},
    rows::{Rows, Trouble},
    shape::{Shape, is_blank},
};

const BOM: &[u8] = b"\xef\xbb\xbf";
/// Names listed in an error, and characters of each: a header can be very wide.
const NAMES_LISTED: usize = 100;
const NAME_SHOWN: usize = 64;

/// What comes before the first row of data.
pub(super) struct Head {
    pub(super) shape: Box<dyn Shape>,
    /// The bytes before the first row of data.
    pub(super) bytes: Vec<u8>,
    /// How many rows they are.
    pub(super) rows: u64,
}

impl Head {
    /// Reads the beginning and resolves the columns.
    pub(super) fn read(job: &Job, rows: &mut Rows) -> Result<Self, FileError> {
        let bytes = byte_order_mark(rows)?;
        if job.format == Format::JsonLines {
            let paths = Paths::parse(&job.columns).map_err(usage)?;
            return Ok(Self { shape: Box::new(JsonLines::new(paths, job.ascii)), bytes, rows: 0 });
        }
        let mut csv = Csv::new(job.delimiter);
        let (header, numbers) = match job.header {
            true => named(job, rows, &mut csv)?,
            false => (Header::default(), by_number(&job.columns)?),
        };
        csv.select(&numbers);
        let bytes = [bytes, header.bytes].concat();
        Ok(Self { shape: Box::new(csv), bytes, rows: header.rows })
    }
}

/// The first row that is not blank, and the blank ones before it.
#[derive(Default)]
struct Header {
    bytes: Vec<u8>,
    rows: u64,
}

/// Reads the header and finds the columns in it.
fn named(job: &Job, rows: &mut Rows, csv: &mut Csv) -> Result<(Header, Vec<usize>), FileError> {
    let mut header = Header::default();
    loop {
        header.rows += 1;
        let row = match rows.next(csv) {
            Ok(Some(row)) => row,
            Ok(None) => return Err(usage("the input has no header row")),
            Err(Trouble::Fault(fault)) => return Err(job.row_error(header.rows, fault)),
            Err(Trouble::File(error)) => return Err(error),
        };
        header.bytes.extend_from_slice(row);
        if !is_blank(row) {
            let names = csv.names(row).map_err(|fault| job.row_error(header.rows, fault))?;
            return Ok((header, by_name(&job.columns, &names)?));
        }
    }
}

fn byte_order_mark(rows: &mut Rows) -> Result<Vec<u8>, FileError> {
    let start = rows.peek(BOM.len())?;
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        return Err(usage("the input is UTF-16; convert it to UTF-8 first"));
    }
    if !start.starts_with(BOM) {
        return Ok(Vec::new());
    }
    rows.skip(BOM.len());
    Ok(BOM.to_vec())
}

fn by_name(columns: &[String], names: &[Vec<u8>]) -> Result<Vec<usize>, FileError> {
    let numbers = columns.iter().map(|column| {
        let mut same = names.iter().enumerate().filter(|(_, name)| *name == column.as_bytes());
        let problem = match (same.next(), same.next()) {
            (Some((number, _)), None) => return Ok(number),
            (Some(_), Some(_)) => "is in the header more than once",
            (None, _) => "is not in the header",
        };
        Err(usage(format!("column {column} {problem}, which has {}", list(names))))
    });
    no_twins(columns, numbers.collect::<Result<_, _>>()?)
}

fn by_number(columns: &[String]) -> Result<Vec<usize>, FileError> {
    let numbers = columns.iter().map(|column| {
        let number = column.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        number.ok_or_else(|| {
            usage(format!("column {column}: without a header, columns are numbers from 1"))
        })
    });
    no_twins(columns, numbers.collect::<Result<_, _>>()?)
}

fn no_twins(columns: &[String], numbers: Vec<usize>) -> Result<Vec<usize>, FileError> {
    let twin = (1..numbers.len()).find(|&at| numbers[..at].contains(&numbers[at]));
    match twin {
        Some(at) => Err(usage(format!("column {} is given twice", columns[at]))),
        None => Ok(numbers),
    }
}

fn list(names: &[Vec<u8>]) -> String {
    let shown = names.iter().take(NAMES_LISTED).map(|name| {
        let name = String::from_utf8_lossy(name);
        name.chars().take(NAME_SHOWN).flat_map(char::escape_debug).collect::<String>()
    });
    let more = names.len().saturating_sub(NAMES_LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.collect::<Vec<_>>().join(", ") + &more
}
