//! Bars and marks that are too close together in, fewer that say how many they stand for out.

use model::human::{count, duration};
use model::record::Phase;
use model::time::Ns;

use super::{Bar, Pin, Sign, Waterfall};

/// Joins neighbours in a row: bars shorter than `gap`, and less than `gap` apart. Of different
/// phases only while what comes out stays as short as two of them.
pub(super) fn bars(waterfall: &mut Waterfall, gap: Ns) {
    for row in waterfall.groups.iter_mut().flat_map(|group| &mut group.rows) {
        let mut out: Vec<Bar> = Vec::with_capacity(row.len());
        for bar in row.drain(..) {
            match out.last_mut().filter(|last| fits(last, &bar, gap)) {
                Some(last) => join(last, &bar),
                None => out.push(bar),
            }
        }
        for bar in out.iter_mut().filter(|bar| bar.count > 1) {
            bar.label = format!("{} × {}", bar.count, bar.phase.name());
            let took = duration(bar.end_ns - bar.start_ns);
            let failed = if bar.error { ", not all without error" } else { "" };
            bar.note = if bar.phase == Phase::Local {
                format!("busy for {} of {took}", duration(bar.busy_ns))
            } else {
                format!(
                    "{}, mostly {}, within {took}{failed}",
                    count(bar.count as u64, "operation"),
                    bar.phase.name()
                )
            };
        }
        *row = out;
    }
}

fn fits(last: &Bar, next: &Bar, gap: Ns) -> bool {
    let length = |bar: &Bar| bar.end_ns - bar.start_ns;
    let small = |bar: &Bar| length(bar) < gap || bar.count > 1;
    let near = next.start_ns.saturating_sub(last.end_ns) < gap;
    let alike = last.phase == next.phase || next.end_ns - last.start_ns <= 2 * gap;
    near && small(last) && small(next) && alike && !last.open && !next.open
}

fn join(last: &mut Bar, next: &Bar) {
    if last.phase == next.phase {
        last.busy_ns += next.busy_ns;
    } else if next.busy_ns > last.busy_ns {
        last.phase = next.phase;
        last.busy_ns = next.busy_ns;
    }
    last.end_ns = last.end_ns.max(next.end_ns);
    last.error |= next.error;
    last.count += next.count;
    last.first_byte_ns = None;
}

/// Joins marks of one kind within `gap`, or within more until few enough are left, and says what
/// they are.
pub(super) fn pins(pins: &mut Vec<Pin>, gap: Ns) {
    pins.sort_by_key(|pin| (pin.sign, pin.at_ns));
    let mut gap = gap.max(1);
    loop {
        pins.dedup_by(|next, first| {
            let same = next.sign == first.sign && next.at_ns - first.at_ns < gap;
            if same {
                first.count += next.count;
            }
            same
        });
        if pins.len() <= super::PINS || gap > Ns::MAX / 2 {
            break;
        }
        gap *= 2;
    }
    for pin in pins {
        pin.note = match pin.sign {
            Sign::Syn => count(pin.count as u64, "SYN") + " retransmitted",
            Sign::Retransmission => count(pin.count as u64, "segment") + " retransmitted",
            Sign::Reset => count(pin.count as u64, "reset"),
            Sign::ZeroWindow => count(pin.count as u64, "time") + " a window was closed",
        };
    }
}
