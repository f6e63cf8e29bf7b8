//! `datetime.strftime` in the C locale, for a time without a time zone, as Python on Linux has it.

use jiff::civil::DateTime;

use crate::error::{Result, unsupported};

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A field, with the character that glibc fills it up with and its width.
struct Field {
    value: i64,
    fill: char,
    width: usize,
}

/// The text of `format` for `now`.
///
/// # Errors
///
/// `%s`, which depends on the time zone.
pub(crate) fn strftime(format: &str, now: DateTime) -> Result<String> {
    let mut out = String::new();
    let mut chars = format.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut fill, mut upper, mut swap, mut width) = (None, false, false, None);
        while let Some((_, flag)) = chars.peek().copied() {
            match flag {
                '-' | '_' | '0' => fill = Some(flag),
                '^' => upper = true,
                '#' => swap = true,
                _ => break,
            }
            chars.next();
        }
        while let Some(digit) = chars.peek().and_then(|(_, c)| c.to_digit(10)) {
            width = Some(
                width
                    .unwrap_or(0usize)
                    .saturating_mul(10)
                    .saturating_add(digit as usize)
                    .min(1000),
            );
            chars.next();
        }
        while chars.next_if(|(_, c)| matches!(c, 'E' | 'O')).is_some() {}
        let Some((end, c)) = chars.next() else {
            out.push_str(format.get(at..).unwrap_or(""));
            break;
        };
        let mut text = match conversion(c, now)? {
            Conversion::Number(field) => padded(&field, fill, width),
            Conversion::Text(mut text) => {
                if let Some(width) = width {
                    let missing = width.saturating_sub(text.chars().count());
                    let with = if fill == Some('0') { "0" } else { " " };
                    text = with.repeat(missing) + &text;
                }
                text
            }
            Conversion::Unknown => {
                out.push_str(format.get(at..end + c.len_utf8()).unwrap_or(""));
                continue;
            }
        };
        if swap && matches!(c, 'p' | 'Z') {
            text = text.to_ascii_lowercase();
        } else if upper || (swap && matches!(c, 'a' | 'A' | 'b' | 'B' | 'h')) {
            text = text.to_ascii_uppercase();
        }
        crate::limits::reserve(text.len())?;
        out.push_str(&text);
    }
    Ok(out)
}

enum Conversion {
    Number(Field),
    Text(String),
    Unknown,
}

fn padded(field: &Field, fill: Option<char>, width: Option<usize>) -> String {
    let fill = match fill {
        Some('-') => return field.value.to_string(),
        Some('_') => ' ',
        Some(_) => '0',
        None => field.fill,
    };
    let text = field.value.to_string();
    let width = width.unwrap_or(field.width);
    let missing = width.saturating_sub(text.len());
    fill.to_string().repeat(missing) + &text
}

fn conversion(c: char, now: DateTime) -> Result<Conversion> {
    let number =
        |value: i64, fill: char, width: usize| Ok(Conversion::Number(Field { value, fill, width }));
    let text = |text: &str| Ok(Conversion::Text(text.to_owned()));
    let whole = |format: &str| strftime(format, now).map(Conversion::Text);
    let weekday = i64::from(now.weekday().to_sunday_zero_offset());
    let day = usize::try_from(weekday).ok().and_then(|at| DAYS.get(at));
    let day = day.copied().unwrap_or("");
    let month = usize::try_from(now.month() - 1).ok();
    let month = month.and_then(|at| MONTHS.get(at)).copied().unwrap_or("");
    let year = i64::from(now.year());
    let hour = i64::from(now.hour());
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let day_of_year = i64::from(now.date().day_of_year());
    let iso = now.date().iso_week_date();
    match c {
        'a' => text(day.get(..3).unwrap_or("")),
        'A' => text(day),
        'b' | 'h' => text(month.get(..3).unwrap_or("")),
        'B' => text(month),
        'c' => whole("%a %b %e %H:%M:%S %Y"),
        'C' => number(year.div_euclid(100), '0', 2),
        'd' => number(i64::from(now.day()), '0', 2),
        'D' | 'x' => whole("%m/%d/%y"),
        'e' => number(i64::from(now.day()), ' ', 2),
        'f' => text(&format!("{:06}", now.subsec_nanosecond() / 1000)),
        'F' => whole("%Y-%m-%d"),
        'g' => number(i64::from(iso.year()).rem_euclid(100), '0', 2),
        'G' => number(i64::from(iso.year()), '0', 1),
        'H' => number(hour, '0', 2),
        'I' => number(hour12, '0', 2),
        'j' => number(day_of_year, '0', 3),
        'k' => number(hour, ' ', 2),
        'l' => number(hour12, ' ', 2),
        'm' => number(i64::from(now.month()), '0', 2),
        'M' => number(i64::from(now.minute()), '0', 2),
        'n' => text("\n"),
        'p' => text(if hour < 12 { "AM" } else { "PM" }),
        'P' => text(if hour < 12 { "am" } else { "pm" }),
        'r' => whole("%I:%M:%S %p"),
        'R' => whole("%H:%M"),
        's' => Err(unsupported("`%s` in strftime_now")),
        'S' => number(i64::from(now.second()), '0', 2),
        't' => text("\t"),
        'T' | 'X' => whole("%H:%M:%S"),
        'u' => number(if weekday == 0 { 7 } else { weekday }, '0', 1),
        'U' => number((day_of_year + 6 - weekday) / 7, '0', 2),
        'V' => number(i64::from(iso.week()), '0', 2),
        'w' => number(weekday, '0', 1),
        'W' => number((day_of_year + 6 - (weekday + 6) % 7) / 7, '0', 2),
        'y' => number(year.rem_euclid(100), '0', 2),
        'Y' => number(year, '0', 1),
        // A time without a zone has no offset and no zone's name.
        'z' | 'Z' => text(""),
        '%' => text("%"),
        _ => Ok(Conversion::Unknown),
    }
}
