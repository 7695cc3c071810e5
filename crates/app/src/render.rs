//! How results reach a person or a pipe: tables fitted to the terminal, sentences, JSON, and the questions that some
//! verbs ask. What a table says is the verbs' business.
//!
//! Texts of a database are never passed to a terminal as they are: a peer may have written `ESC [2J` into a comment.
//! Every control character is shown as a sign of its own, in tables, sentences and JSON alike.

use std::borrow::Cow;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use comfy_table::{Attribute, CellAlignment, Color, ContentArrangement, presets};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// The narrowest width that a table is fitted to: below it, a terminal says nothing of use.
const WIDTH_MIN: usize = 20;
/// Sentences are broken at this width even on a wider terminal: longer lines are hard to read.
const PROSE_WIDTH_MAX: usize = 100;
/// A column of texts that is narrower than this is no use.
const READABLE_MIN: usize = 8;
const TAB: &str = "    ";

/// Whether whoever reads our standard output has closed it.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Where output goes: how wide it is, and whether it takes colours and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// The number of columns; nothing where a line may be as long as it is.
    pub width: Option<usize>,
    /// Whether colours are wanted.
    pub colour: bool,
    /// Whether a person looks at it: tables have lines, and texts may take several.
    pub terminal: bool,
}

impl Screen {
    /// The standard output. `COLUMNS` overrides the width, `NO_COLOR` and `TERM=dumb` forbid colours.
    pub fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let told = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let columns = told("COLUMNS").and_then(|c| c.to_str().and_then(|c| c.parse::<usize>().ok())).filter(|c| *c > 0);
        let seen = || comfy_table::Table::new().width().map(usize::from).filter(|width| *width > 0);
        Self {
            width: columns.or_else(seen).map(|width| width.max(WIDTH_MIN)),
            colour: terminal && told("NO_COLOR").is_none() && told("TERM").is_none_or(|term| term != "dumb"),
            terminal,
        }
    }

    /// `text` in `tone`, made visible.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.colour => return visible(text).into_owned(),
            Tone::Plain => return visible(text).into_owned(),
            Tone::Dim => "2",
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Site(n) => ["36", "35"][n % 2],
        };
        format!("\x1b[{code}m{}\x1b[0m", visible(text))
    }

    /// Sentences broken at spaces, made visible; lines that begin with two spaces stay as they are.
    pub fn prose(&self, text: &str) -> String {
        let width = self.width.map_or(usize::MAX, |width| width.min(PROSE_WIDTH_MAX));
        let mut lines = Vec::new();
        for paragraph in text.lines() {
            if paragraph.starts_with("  ") {
                lines.push(visible(paragraph).into_owned());
                continue;
            }
            let mut line = String::new();
            for word in paragraph.split(' ').map(visible) {
                if !line.is_empty() && line.width() + 1 + word.width() > width {
                    lines.push(std::mem::take(&mut line));
                }
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&word);
            }
            lines.push(line);
        }
        lines.join("\n")
    }

    /// `table` as lines, without the last line end. Where its columns would be too narrow to be read, each row is a block of
    /// lines, a heading and its value in each.
    pub fn table(&self, table: &Table) -> String {
        if self.width.is_none_or(|width| table.width_min(self.terminal) <= width) {
            return self.drawn(&table.head, &table.rows, self.terminal);
        }
        let block = |row: &Vec<Cell>| {
            let colon = |head: &Cell| if head.text.is_empty() { "" } else { ":" };
            let label = |head: &Cell| Cell::new(format!("{}{}", head.text, colon(head)), head.tone);
            let lines: Vec<_> =
                table.head.iter().zip(row).map(|(head, cell)| vec![label(head), cell.clone()]).collect();
            self.drawn(&[], &lines, false)
        };
        table.rows.iter().map(block).collect::<Vec<_>>().join("\n\n")
    }

    fn drawn(&self, head: &[Cell], rows: &[Vec<Cell>], bordered: bool) -> String {
        let mut drawn = comfy_table::Table::new();
        if bordered {
            drawn.load_style(presets::UTF8_FULL_CONDENSED);
        } else {
            drawn.load_style(presets::NOTHING);
        }
        match self.width {
            Some(width) => {
                drawn.set_content_arrangement(ContentArrangement::Dynamic);
                drawn.set_width(u16::try_from(width).unwrap_or(u16::MAX));
            }
            None => {
                drawn.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if self.colour {
            drawn.enforce_styling();
            drawn.style_text_only();
        } else {
            drawn.force_no_tty();
        }
        if !head.is_empty() {
            drawn.set_header(head.iter().map(|cell| self.cell(cell)));
        }
        for row in rows {
            drawn.add_row(row.iter().map(|cell| self.cell(cell)));
        }
        for column in drawn.column_iter_mut() {
            if !bordered {
                column.set_padding((0, 2));
            }
            if head.get(column.index).is_some_and(|cell| cell.right) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        drawn.trim_fmt()
    }

    fn cell(&self, cell: &Cell) -> comfy_table::Cell {
        let (shown, rest) = match cell.text.char_indices().nth(CELL_CHARS_MAX) {
            Some((end, _)) => cell.text.split_at(end),
            None => (cell.text.as_str(), ""),
        };
        let rest = if rest.is_empty() { String::new() } else { format!("… ({} more)", rest.chars().count()) };
        // A pipe gets one line a row, so that `grep` and `wc` count rows.
        let lines = shown.split('\n').map(|line| visible(line.strip_suffix('\r').unwrap_or(line)));
        let text = lines.collect::<Vec<_>>().join(if self.terminal { "\n" } else { " ↵ " }) + &rest;
        let drawn = comfy_table::Cell::new_owned(text);
        match cell.tone {
            Tone::Plain => drawn,
            Tone::Dim => drawn.add_attribute(Attribute::Dim),
            Tone::Strong => drawn.add_attribute(Attribute::Bold),
            Tone::Good => drawn.fg(Color::DarkGreen),
            Tone::Warn => drawn.fg(Color::DarkYellow),
            Tone::Bad => drawn.fg(Color::DarkRed),
            Tone::Site(n) => drawn.fg([Color::DarkCyan, Color::DarkMagenta][n % 2]),
        }
    }
}

/// What a text is to the reader. Tells nothing that the words do not tell too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// An ordinary text.
    #[default]
    Plain,
    /// Of less interest: markers.
    Dim,
    /// A heading.
    Strong,
    /// As it should be.
    Good,
    /// Left, or waiting.
    Warn,
    /// Wants a person's eye.
    Bad,
    /// Of one of several sites: each has its colour.
    Site(usize),
}

/// What a table shows of one text, in characters. JSON has all of it.
const CELL_CHARS_MAX: usize = 500;

/// One field of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    /// `text` in `tone`.
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone, right: false }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A table before it is fitted to anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    head: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings. A heading that begins with `>` stands over a column of numbers, aligned right.
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        let cell = |head: &str| match head.strip_prefix('>') {
            Some(head) => Cell { right: true, ..Cell::new(head, Tone::Strong) },
            None => Cell::new(head, Tone::Strong),
        };
        Self { head: head.into_iter().map(cell).collect(), rows: Vec::new() }
    }

    /// Gives the heading of column `index` another tone.
    pub fn tint(&mut self, index: usize, tone: Tone) {
        if let Some(cell) = self.head.get_mut(index) {
            cell.tone = tone;
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// How wide it is at least, with lines around its fields or without: headings broken between words, numbers whole, and
    /// of a text so much that it can be read.
    fn width_min(&self, bordered: bool) -> usize {
        let widest = |text: &str, ends: &[char]| text.split(ends).map(UnicodeWidthStr::width).max().unwrap_or(0);
        let column = |(index, head): (usize, &Cell)| {
            let fields = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| widest(&cell.text, &['\n']));
            let fields = fields.max().unwrap_or(0);
            let fields = if head.right { fields } else { fields.min(READABLE_MIN) };
            fields.max(widest(&head.text, &[' '])) + if bordered { 3 } else { 2 }
        };
        self.head.iter().enumerate().map(column).sum::<usize>() + usize::from(bordered)
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// `text` without anything that a terminal would act upon: control characters, and those that turn the direction of
/// writing, are shown as signs.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => shown.push_str(TAB),
            '\u{7f}' => shown.push('\u{2421}'),
            // The pictures of the control characters stand in their order.
            c if c < ' ' => shown.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
            c if acts(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// `value` as JSON on one line, in which no character acts upon a terminal.
pub fn json_line<T: Serialize + ?Sized>(value: &T) -> io::Result<String> {
    Ok(escape_json(serde_json::to_string(value)?))
}

/// `value` as JSON for a person, in which no character acts upon a terminal.
pub fn json<T: Serialize + ?Sized>(value: &T) -> io::Result<String> {
    Ok(escape_json(serde_json::to_string_pretty(value)?))
}

/// JSON demands escapes below the space only. What acts and lies above it can stand in strings alone.
fn escape_json(json: String) -> String {
    let loud = |c: char| c >= '\u{7f}' && acts(c);
    if !json.chars().any(loud) {
        return json;
    }
    let mut quiet = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if loud(c) {
            quiet.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            quiet.push(c);
        }
    }
    quiet
}

/// Writes a line to the standard output. Where the reader has gone (`landbridge history ABC | head`), nothing is
/// written and nothing is wrong; [`heard`] tells a long output when to stop.
pub fn say(line: &str) -> io::Result<()> {
    if !heard() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Err(gone) if gone.kind() == ErrorKind::BrokenPipe => {
            CLOSED.store(true, Ordering::Relaxed);
            Ok(())
        }
        written => written,
    }
}

/// Whether somebody still reads the standard output.
pub fn heard() -> bool {
    !CLOSED.load(Ordering::Relaxed)
}

/// Writes a line to the standard error. That nobody reads it is no reason to stop.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Asks a question that is answered by `y`. Nothing where nobody can be asked: no terminal at either end.
pub fn ask(question: &str) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let mut out = io::stderr().lock();
    write!(out, "{} [y/N] ", visible(question))?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
}

/// A progress bar on the standard error; none where that is no terminal. `total`: nothing where it is not known.
pub fn progress(what: &'static str, total: Option<u64>) -> indicatif::ProgressBar {
    let bar = match total {
        Some(total) => indicatif::ProgressBar::new(total),
        None => indicatif::ProgressBar::new_spinner(),
    };
    let form = match total {
        Some(_) => "{msg} {wide_bar} {pos}/{len}",
        None => "{spinner} {msg} {pos}",
    };
    if let Ok(style) = indicatif::ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// `1 entry`, `2 entries`: the number with the word in its number. Words of this program only.
pub fn count(n: u64, one: &str) -> String {
    match one.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        _ if n == 1 => format!("1 {one}"),
        Some(stem) => format!("{n} {stem}ies"),
        None => format!("{n} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: Screen = Screen { width: None, colour: false, terminal: false };

    fn table(text: &str) -> Table {
        let mut table = Table::new([">no", "text"]);
        table.row([Cell::from("7"), Cell::new(text, Tone::Dim)]);
        table.row([Cell::from("12"), "next".into()]);
        table
    }

    #[test]
    fn a_pipe_gets_plain_aligned_text_and_one_line_a_row() {
        assert_eq!(PIPE.table(&table("first\nsecond")), "no  text\n 7  first ↵ second\n12  next");
    }

    #[test]
    fn nothing_in_a_text_acts_upon_the_terminal() {
        let hostile = "a\x1b[2Jb\u{9b}31mc\x07\x7f\td\u{202e}e\r\n";
        let shown = "a␛[2Jb\\u{9b}31mc␇␡    d\\u{202e}e␍␊";
        assert_eq!(visible(hostile), shown);
        for screen in [PIPE, Screen { width: Some(200), colour: true, terminal: true }] {
            let drawn = screen.table(&table(hostile));
            assert!(!drawn.contains("\x1b[2J") && !drawn.contains('\u{9b}') && !drawn.contains('\u{202e}'), "{drawn}");
            assert!(!screen.prose(hostile).contains('\x1b'));
            assert!(!screen.paint(Tone::Bad, hostile).contains("\x1b[2J"));
        }
        assert_eq!(json_line(hostile).unwrap(), r#""a\u001b[2Jb\u009b31mc\u0007\u007f\td\u202ee\r\n""#);
    }

    #[test]
    fn json_reads_back_as_the_text_that_was_written() {
        let text = "\u{9b}\u{7f}\u{2028}日本 👩‍💻\\\"";
        assert_eq!(serde_json::from_str::<String>(&json(text).unwrap()).unwrap(), text);
    }

    #[test]
    fn a_table_is_no_wider_than_the_terminal_whatever_is_in_it() {
        let long = "日本語のテキスト ".repeat(20) + &"👩‍💻 ok ".repeat(9) + &"x".repeat(300);
        for width in [20, 40, 60, 80, 132] {
            let screen = Screen { width: Some(width), colour: false, terminal: true };
            for line in screen.table(&table(&long)).lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_table_that_does_not_fit_is_one_block_a_row_and_no_number_is_broken() {
        let mut table = Table::new(["peer", ">pending", ">held", ">refused", ">diverged", "state"]);
        table.row(["N".into(), "12345".into(), "7".into(), "0".into(), "0".into(), Cell::from("not reached yet")]);
        table.row(["C".into(), "0".into(), "1".into(), "0".into(), "0".into(), Cell::from("in step")]);
        let narrow = Screen { width: Some(40), colour: false, terminal: true };
        let block = "peer:      N\npending:   12345\nheld:      7\nrefused:   0\ndiverged:  0\nstate:     ";
        let drawn = narrow.table(&table);
        assert!(drawn.starts_with(&format!("{block}not reached yet\n\npeer:      C\n")), "{drawn}");
        let wide = Screen { width: Some(80), ..narrow }.table(&table);
        assert!(wide.lines().all(|line| line.width() <= 80) && !wide.contains("peer:"), "{wide}");
    }

    #[test]
    fn wide_characters_keep_columns_aligned() {
        let mut table = Table::new(["a", "b"]);
        table.row(["日本".into(), Cell::from("x")]);
        table.row(["abcd".into(), Cell::from("x")]);
        assert_eq!(PIPE.table(&table), "a     b\n日本  x\nabcd  x");
    }

    #[test]
    fn colours_appear_only_where_they_are_wanted() {
        let colour = Screen { width: Some(80), colour: true, terminal: true };
        assert!(colour.table(&table("t")).contains('\x1b'));
        assert!(!Screen { colour: false, ..colour }.table(&table("t")).contains('\x1b'));
        assert_eq!(PIPE.paint(Tone::Bad, "t"), "t");
    }

    #[test]
    fn sentences_are_broken_at_spaces_and_commands_are_not() {
        let screen = Screen { width: Some(20), colour: false, terminal: true };
        let text = "one two three four five six\n  landbridge --config a.toml history ABC";
        assert_eq!(screen.prose(text), "one two three four\nfive six\n  landbridge --config a.toml history ABC");
        assert_eq!(PIPE.prose(text), text);
    }

    #[test]
    fn a_number_and_its_word_agree() {
        let counted = [(1, "entry"), (2, "entry"), (0, "problem"), (2, "key")].map(|(n, one)| count(n, one));
        assert_eq!(counted, ["1 entry", "2 entries", "0 problems", "2 keys"]);
    }
}
