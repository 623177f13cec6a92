//! A command in, the events of a recording out that say what it waited for: of readers that
//! add up what is in files (`DuckDB`, `ClickHouse`), none could divide its time into phases.

use super::event::Blocked;
use super::operations::Threads;
use super::report::described;
use super::state::CommandState;

/// One for each phase and host that cost anything; together the command's wall time. The order is that of the
/// phases, then that of the hosts.
/// Nothing of one that still runs.
pub fn blocked(command: &CommandState) -> Vec<Blocked> {
    let mut all = Vec::new();
    let Some(record) = &command.record else { return all };
    let Some(wall_ns) = record.wall_ns else { return all };
    let end = record.start_ns.saturating_add(wall_ns);
    let command = described(record, &command.split(end, Threads::Unknown));
    for share in &command.phases {
        let mut rest = share.blocked_ns;
        let mut add = |host: Option<&str>, blocked_ns| {
            if blocked_ns > 0 {
                let host = host.map(str::to_owned);
                all.push(Blocked { command: command.id, phase: share.phase, host, blocked_ns });
            }
        };
        for host in &command.hosts {
            let Some(ns) = host.phases.get(&share.phase).map(|ns| (*ns).min(rest)) else { continue };
            rest -= ns;
            add(Some(&host.host), ns);
        }
        add(None, rest);
    }
    all
}
