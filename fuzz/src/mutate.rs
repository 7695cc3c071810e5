//! Mutations of good input from a fixed seed, so that what the fuzz targets look at is looked at, a few thousand times, where
//! no fuzzer is. Tests include this file; `LANDBRIDGE_SOAK=1` makes a hundred times as many.

#![allow(dead_code, reason = "each test uses what it needs")]

const PARTS: [&str; 24] = [
    "; seal ",
    " from ",
    " as ",
    ": ",
    "; ",
    ", ",
    " no 2",
    "lost ",
    "adopted ",
    "stay ",
    "\"",
    "\\u0000",
    "\\",
    "/",
    "-",
    ",",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "{",
    "}",
    "null",
    "ä",
    "\u{a0}\n",
];

/// Calls `check` with `count` texts made of `good` ones by a few cuts, repetitions, swaps and insertions each.
pub fn mutations(good: &[&str], count: usize, check: impl Fn(&str)) {
    let count = if std::env::var_os("LANDBRIDGE_SOAK").is_some() { count * 100 } else { count };
    good.iter().for_each(|text| check(text));
    let mut dice = Dice(0x1d2b_3c4d_5e6f_7081);
    for _ in 0..count {
        let mut text: Vec<char> = good[dice.below(good.len())].chars().collect();
        for _ in 0..=dice.below(4) {
            mutate(&mut text, good, &mut dice);
        }
        let text: String = text.into_iter().collect();
        check(&text);
    }
}

/// The same for bytes: some are changed, cut out or repeated.
pub fn mutations_of_bytes(good: &[&[u8]], count: usize, check: impl Fn(&[u8])) {
    let count = if std::env::var_os("LANDBRIDGE_SOAK").is_some() { count * 100 } else { count };
    good.iter().for_each(|bytes| check(bytes));
    let mut dice = Dice(0x1d2b_3c4d_5e6f_7081);
    for _ in 0..count {
        let mut bytes = good[dice.below(good.len())].to_vec();
        for _ in 0..=dice.below(4) {
            let (from, len) = (dice.below(bytes.len() + 1), dice.below(12));
            let to = (from + len).min(bytes.len());
            match dice.below(4) {
                0 => drop(bytes.drain(from..to)),
                1 => bytes.extend_from_within(from..to),
                2 => bytes.truncate(to),
                _ => bytes[from..to].iter_mut().for_each(|byte| *byte ^= 1 << dice.below(8)),
            }
        }
        check(&bytes);
    }
}

fn mutate(text: &mut Vec<char>, good: &[&str], dice: &mut Dice) {
    let (a, b) = (dice.below(text.len() + 1), dice.below(text.len() + 1));
    let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 12));
    match dice.below(6) {
        0 => drop(text.drain(from..to)),
        1 => {
            let again = text[from..to].to_vec();
            text.splice(to..to, again);
        }
        2 => text[from..to].reverse(),
        3 => {
            let other: Vec<char> = good[dice.below(good.len())].chars().collect();
            let start = dice.below(other.len() + 1);
            text.splice(from..to, other.into_iter().skip(start).take(20));
        }
        4 => drop(text.splice(from..from, PARTS[dice.below(PARTS.len())].chars())),
        _ => {
            if let Some(c) = text.get_mut(from) {
                *c = char::from(b' ' + dice.below(95) as u8);
            }
        }
    }
}

/// Marsaglia's xorshift: the same texts on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}
