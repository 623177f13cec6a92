//! Numbers in, words for people out: at most three digits and always a unit.

use crate::time::Ns;

/// A duration: `850 ns`, `41.2 µs`, `12.0 ms`, `4.62 s`, `2 min 05 s`, `1 h 03 min`.
pub fn duration(ns: Ns) -> String {
    // Limits where rounding would show four digits of the smaller unit.
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..999_500 => three(ns as f64 / 1e3, "µs"),
        999_500..999_500_000 => three(ns as f64 / 1e6, "ms"),
        999_500_000..59_950_000_000 => three(ns as f64 / 1e9, "s"),
        59_950_000_000..3_599_500_000_000 => {
            let seconds = (ns + 500_000_000) / 1_000_000_000;
            format!("{} min {:02} s", seconds / 60, seconds % 60)
        }
        _ => {
            let minutes = ns / 60_000_000_000 + u64::from(ns % 60_000_000_000 >= 30_000_000_000);
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

/// A duration, or `?` when it is not known.
pub fn duration_or_unknown(ns: Option<Ns>) -> String {
    ns.map_or_else(|| "?".to_owned(), duration)
}

/// A moment: seconds from the start of the observation, to the millisecond.
pub fn moment(ns: Ns) -> String {
    format!("{}.{:03}", ns / 1_000_000_000, ns / 1_000_000 % 1000)
}

/// A size: `512 B`, `31.4 kB`, `215 MB` (thousands, as network tools count).
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..999_500 => three(bytes as f64 / 1e3, "kB"),
        999_500..999_500_000 => three(bytes as f64 / 1e6, "MB"),
        999_500_000..999_500_000_000 => three(bytes as f64 / 1e9, "GB"),
        _ => three(bytes as f64 / 1e12, "TB"),
    }
}

/// A part of a whole: `61 %`, `<1 %` for what is not nothing, `0 %`.
pub fn percent(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    let percent = (u128::from(part) * 100 + u128::from(whole) / 2) / u128::from(whole);
    if percent == 0 { "<1 %".to_owned() } else { format!("{percent} %") }
}

/// `1 request`, `2 requests`, `2 queries`.
pub fn count(n: u64, one: &str) -> String {
    match one.strip_suffix('y') {
        _ if n == 1 => format!("1 {one}"),
        Some(stem) => format!("{n} {stem}ies"),
        None => format!("{n} {one}s"),
    }
}

/// `columns` columns of a bar, to an eighth of one: `███▌`.
pub fn bar(part: u64, whole: u64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (u128::from(part.min(whole)) * columns as u128 * 8).div_ceil(u128::from(whole.max(1)));
    let eighths = eighths as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

fn three(value: f64, unit: &str) -> String {
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let cases: [(Ns, &str); 13] = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (412_345_678, "412 ms"),
            (999_999_999, "1.00 s"),
            (4_620_000_000, "4.62 s"),
            (9_999_000_000, "10.0 s"),
            (59_950_000_000, "1 min 00 s"),
            (125_000_000_000, "2 min 05 s"),
            (3_599_600_000_000, "1 h 00 min"),
            (u64::MAX, "5124095 h 35 min"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }

    #[test]
    fn sizes_shares_and_counts() {
        assert_eq!((bytes(0), bytes(999_500)), ("0 B".into(), "1.00 MB".into()));
        assert_eq!(bytes(214_900_000), "215 MB");
        assert_eq!(
            (percent(0, 9), percent(1, 999), percent(2, 3)),
            ("0 %".into(), "<1 %".into(), "67 %".into())
        );
        assert_eq!(percent(u64::MAX, u64::MAX), "100 %");
        assert_eq!((count(1, "tile"), count(0, "tile")), ("1 tile".into(), "0 tiles".into()));
        assert_eq!(moment(61_234_567_890), "61.234");
    }

    #[test]
    fn a_bar_is_full_for_the_whole_and_visible_for_the_least() {
        assert_eq!(bar(5, 5, 4), "████");
        assert_eq!(bar(9, 5, 4), "████");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!((bar(0, 5, 4).as_str(), bar(0, 0, 4).as_str()), ("", ""));
        assert_eq!(bar(1, 2, 5), "██▌");
    }
}
