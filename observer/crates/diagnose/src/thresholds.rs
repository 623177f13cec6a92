//! From when on something is a stall. Chosen from what the protocols and the go command do, before
//! any of it was tried, but for four that were changed after runs showed them wrong:
//! [`TRANSFER_RATE`] (was 250 kB/s), [`VCS_SILENT_NS`] (was 3 s), [`CONCURRENCY_MODULES`] and
//! [`REORDERED`] (were none). These are to be confirmed on faults they have not seen.

use model::time::Ns;

const MS: Ns = 1_000_000;
const S: Ns = 1_000_000_000;

/// A finding that cost this much is critical: a person has begun to wonder.
pub(crate) const CRITICAL_NS: Ns = 5 * S;
/// … or this share of the wall time, per cent.
pub(crate) const CRITICAL_PERCENT: u64 = 30;
/// A finding that cost this much is a warning: a person notices.
pub(crate) const WARNING_NS: Ns = 250 * MS;
/// … or this share of the wall time, per cent.
pub(crate) const WARNING_PERCENT: u64 = 5;

/// An answer later than this is slow: resolvers answer from their cache within a round trip, which
/// on earth is seldom longer.
pub(crate) const DNS_SLOW_NS: Ns = 150 * MS;
/// A query without an answer that was retried, this long after it: a resolver asks again
/// after a second at the least (resolv.conf's `timeout`), so less is another query's repetition.
pub(crate) const DNS_RETRIED_NS: Ns = 500 * MS;
/// A query that is open this long will not be answered: Go and glibc ask again after 5 s, and
/// name servers that have to ask others themselves take a second at most.
pub(crate) const DNS_UNANSWERED_NS: Ns = 2 * S;
/// What follows sooner follows from it, without anybody having waited: no resolver gives up before a
/// second.
pub(crate) const AT_ONCE_NS: Ns = 100 * MS;
/// An IPv6 SYN without an answer for so long, with an IPv4 SYN after it, is Happy Eyeballs at work:
/// Go waits 300 ms (net.Dialer.FallbackDelay).
pub(crate) const FALLBACK_NS: Ns = 250 * MS;
/// … and the IPv4 SYN comes within this time.
pub(crate) const FALLBACK_MAX_NS: Ns = 1_500 * MS;
/// A `ClientHello` unanswered for so long: two retransmissions of it have been in vain.
pub(crate) const HELLO_UNANSWERED_NS: Ns = 2 * S;
/// A forward proxy has to look the target up and to shake hands with it before a tunnel stands: together
/// seldom more than two slow round trips.
pub(crate) const TUNNEL_SLOW_NS: Ns = 500 * MS;
/// One that has said nothing for so long waits for somebody itself, or is not there.
pub(crate) const TUNNEL_UNANSWERED_NS: Ns = 2 * S;
/// A control group that was held up for less than a few periods of the scheduler's (100 ms each) is not worth
/// a word.
pub(crate) const QUOTA_NS: Ns = 250 * MS;
/// The first `go1.N` with the setting `tlsmlkem`, and with the key share that it leaves out.
pub(crate) const TLSMLKEM_MINOR: u32 = 24;
/// Round trips that a TLS handshake may take: 1 for TLS 1.3, 2 for TLS 1.2, 1 for a retry, and
/// as many to spare.
pub(crate) const TLS_ROUND_TRIPS: u64 = 6;
/// … and what both sides may compute meanwhile.
pub(crate) const TLS_COMPUTE_NS: Ns = 250 * MS;
/// Round trips that the head of a response may take.
pub(crate) const HEAD_ROUND_TRIPS: u64 = 4;
/// … and what the server may work on it meanwhile: a proxy has its files at hand.
pub(crate) const HEAD_WORK_NS: Ns = 250 * MS;
/// A response that brings nothing for so long is silent. A second is what a slow disk or a busy
/// server takes, too.
pub(crate) const SILENT_NS: Ns = 3 * S;
/// So many retransmissions without an answer: the time-out has backed off to 1.6 s or more
/// (RFC 6298: 200 ms in Linux, doubled each time).
pub(crate) const DEAD_RETRANSMISSIONS: usize = 3;
/// A body that takes so long may be called slow.
pub(crate) const TRANSFER_NS: Ns = S;
/// … when, with all that came at the same time, it comes slower than this, bytes a second: a sixth
/// of what a line of 100 Mbit/s carries.
pub(crate) const TRANSFER_RATE: u64 = 2_000_000;
/// … and takes so many times what the window allows on a connection that begins: ten segments
/// (RFC 6928), doubled each round trip.
pub(crate) const TRANSFER_ROUND_TRIPS: u64 = 2;
/// Bytes of those ten segments.
pub(crate) const FIRST_WINDOW: u64 = 14_600;
/// What a lost segment holds up at least: Linux' shortest retransmission time-out.
pub(crate) const LOSS_HOLDS_NS: Ns = 200 * MS;
/// Segments received out of order from which on one was lost, and not overtaken on its way: as many
/// as make a sender repeat it (RFC 5681: three duplicate acknowledgements).
pub(crate) const REORDERED: u32 = 3;
/// Streams that wait behind one lost segment before it is said.
pub(crate) const LOSS_STREAMS: usize = 2;
/// A wait for a lock is distinguished from here on; shorter ones are the lock doing its work.
pub(crate) const LOCK_NS: Ns = 100 * MS;
/// A child that has nothing in flight and sleeps for so long waits for something else than the
/// network; what git does by itself takes milliseconds.
pub(crate) const VCS_SILENT_NS: Ns = S;
/// A helper that go waits for so long is said: git's own answer in milliseconds, and a token from a
/// server takes a round trip or two.
pub(crate) const HELPER_NS: Ns = 500 * MS;
/// An ssh server that greets later has no room for one more, or asks a name server first.
pub(crate) const GREETING_NS: Ns = 500 * MS;
/// go that found nothing to fetch with ends within this time.
pub(crate) const SOON_NS: Ns = S;
/// Processes of one chain that end within this time end because of each other.
pub(crate) const CHAIN_ENDS_NS: Ns = 50 * MS;
/// A test or another program that waits so long is said: that it waits at all is its own matter.
pub(crate) const CHILD_NS: Ns = S;
/// A limit of streams below this makes the go command dial more connections than its downloads.
pub(crate) const STREAM_LIMIT: u32 = 16;
/// Modules from which on more of them at once are proposed: with fewer, the prediction is of a few
/// requests, and little is to be gained.
pub(crate) const CONCURRENCY_MODULES: u64 = 8;
/// What more downloads at once would gain, per cent of the wall time, before it is said.
pub(crate) const CONCURRENCY_GAIN_PERCENT: u64 = 20;
/// Bytes of advice at the most: two lines of the dashboard at 80 columns.
pub(crate) const ADVICE: usize = 146;
/// Downloads at once that are proposed.
pub(crate) const CONCURRENCY: u64 = 16;
/// A time-out is something that took this long and failed.
pub(crate) const TIMED_OUT_NS: Ns = 2 * S;
/// `local` from this share of the wall time on, per cent.
pub(crate) const LOCAL_PERCENT: u64 = 50;
/// Linux acknowledges a single small segment after this time (`TCP_DELACK_MIN`).
pub(crate) const ACK_DELAY_NS: Ns = 40 * MS;
/// Answers that waited for it, and others that did not, before it is a pattern.
pub(crate) const ACK_DELAYED: usize = 5;
/// Connections with one request each before it is a pattern.
pub(crate) const USED_ONCE: usize = 8;
/// How long before its connection a name may be looked up.
pub(crate) const LOOKUP_NS: Ns = 5 * S;
/// Two ends of one thing are no further apart.
pub(crate) const TOGETHER_NS: Ns = 20 * MS;
/// One request so many times is no retry any more.
pub(crate) const REPEATED: usize = 20;
/// Many answers together are worth a finding from this share of the wall time on, per cent,
pub(crate) const SHARE_PERCENT: u64 = 20;
/// … when they are so many.
pub(crate) const SHARE_ANSWERS: usize = 8;
/// A redirect is followed within this time: a lookup, a connection and a handshake may come before.
pub(crate) const REDIRECT_NS: Ns = 30 * S;
/// One address that redirects so often leads in a circle: go follows ten, and asks twice for what failed.
pub(crate) const REDIRECTS_CIRCLE: usize = 5;
/// Addresses of one host are tried so shortly one after the other (go: IPv4 300 ms after IPv6).
pub(crate) const FAMILY_NS: Ns = S;
/// Paths that are no modules before it is said.
pub(crate) const PROBES: usize = 3;
/// A connection that is dialled in the place of another begins so soon.
pub(crate) const GOAWAY_DIALS_NS: Ns = 20 * MS;
/// A window that was closed for less is no wait that anybody sees.
pub(crate) const WINDOW_NS: Ns = MS;
