//! Spans in, lanes without overlap out.

use model::record::Ns;

/// Puts each span, in order of its start, into the first lane where nothing is in its way; at most
/// `most` lanes. Out: the lane of each span, `None` where there was no room.
pub(crate) fn lanes(spans: impl IntoIterator<Item = (Ns, Ns)>, most: usize) -> Vec<Option<usize>> {
    let mut free: Vec<Ns> = Vec::new();
    let mut place = |(start, end): (Ns, Ns)| {
        let end = end.max(start);
        if let Some(lane) = free.iter().position(|free| *free <= start) {
            free[lane] = end;
            return Some(lane);
        }
        (free.len() < most).then(|| {
            free.push(end);
            free.len() - 1
        })
    };
    spans.into_iter().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_share_a_lane_when_they_do_not_overlap() {
        assert_eq!(lanes([(0, 5), (5, 9), (6, 7), (7, 8)], 9), [Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!(lanes([(0, 5), (1, 5), (2, 5), (5, 6)], 2), [Some(0), Some(1), None, Some(0)]);
    }

    proptest! {
        #[test]
        fn no_two_spans_of_a_lane_overlap(mut spans in prop::collection::vec((0..50u64, 0..9u64), 0..40), most in 0..6usize) {
            spans.sort_unstable();
            let spans: Vec<_> = spans.into_iter().map(|(start, length)| (start, start + length)).collect();
            let placed = lanes(spans.iter().copied(), most);
            for lane in 0..most {
                let of: Vec<_> = (0..spans.len()).filter(|span| placed[*span] == Some(lane)).collect();
                prop_assert!(of.windows(2).all(|pair| spans[pair[0]].1 <= spans[pair[1]].0));
            }
            prop_assert!(placed.iter().flatten().all(|lane| *lane < most));
        }
    }
}
