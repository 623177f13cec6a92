//! Offsets of members of kernel structures, from the kernel's BTF (`/sys/kernel/btf/vmlinux`,
//! format: Linux, Documentation/bpf/btf.rst). One pass, nothing is kept: aya's own reader holds
//! every type of the kernel in memory and does not report members.

use std::collections::HashMap;

use observer_common::{Offsets, UNKNOWN32};
use thiserror::Error;

/// Why the BTF could not be used.
#[derive(Debug, Error)]
pub(super) enum BtfError {
    /// Not BTF, or not this machine's byte order
    #[error("the kernel's BTF has an unknown format")]
    Format,
    /// It ends in the middle
    #[error("the kernel's BTF is cut off")]
    Truncated,
    /// A member that goobserve cannot do without
    #[error("the kernel's BTF has no {0}")]
    Missing(&'static str),
}

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const FUNC_PROTO: u32 = 13;
/// Anonymous structures nested in each other; the kernel's are at most three deep.
const DEPTH_MAX: u8 = 8;

struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Byte offset of each type; index is the type's number, 0 is `void`
    index: Vec<u32>,
    /// Byte offsets of the structures that matter
    structures: HashMap<&'static str, usize>,
}

/// Every structure that has a member of interest.
const STRUCTURES: [&str; 21] = [
    "files_struct",
    "fdtable",
    "socket",
    "task_struct",
    "sk_buff",
    "mm_struct",
    "linux_binprm",
    "file",
    "inode",
    "super_block",
    "sock_common",
    "sock",
    "tcp_sock",
    "fs_struct",
    "path",
    "dentry",
    "nsproxy",
    "mnt_namespace",
    "ns_common",
    "fib6_result",
    "fib6_info",
];

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let four = bytes.get(at..at + 4).ok_or(BtfError::Truncated)?;
    Ok(u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

impl<'a> Btf<'a> {
    fn new(data: &'a [u8]) -> Result<Self, BtfError> {
        if data.get(..2).map(|m| u16::from_ne_bytes([m[0], m[1]])) != Some(MAGIC) {
            return Err(BtfError::Format);
        }
        let head = u32_at(data, 4)? as usize;
        let part = |offset: usize, len: usize| {
            let start = head + u32_at(data, offset)? as usize;
            data.get(start..start + u32_at(data, len)? as usize).ok_or(BtfError::Truncated)
        };
        let (types, strings) = (part(8, 12)?, part(16, 20)?);
        let mut index = vec![0];
        let mut structures = HashMap::new();
        let mut at = 0;
        while at < types.len() {
            index.push(at as u32);
            let info = u32_at(types, at + 4)?;
            if info >> 24 & 0x1f == STRUCT {
                let name = u32_at(types, at)?;
                if let Some(known) = STRUCTURES.iter().find(|known| named(strings, name, known)) {
                    structures.entry(*known).or_insert(at);
                }
            }
            let count = (info & 0xffff) as usize;
            at += 12
                + match info >> 24 & 0x1f {
                    1 | 14 | 17 => 4,              // INT, VAR, DECL_TAG
                    3 => 12,                       // ARRAY
                    4 | 5 | 15 | 19 => count * 12, // STRUCT, UNION, DATASEC, ENUM64
                    6 | 13 => count * 8,           // ENUM, FUNC_PROTO
                    2 | 7..=12 | 16 | 18 => 0,     // PTR, FWD, TYPEDEF, qualifiers, FUNC, FLOAT, TYPE_TAG
                    _ => return Err(BtfError::Format),
                };
        }
        Ok(Self { types, strings, index, structures })
    }

    /// Offset of a member in bytes, looked for in anonymous members as well.
    fn member(&self, at: usize, name: &str, depth: u8) -> Option<u32> {
        let info = u32_at(self.types, at + 4).ok()?;
        for n in 0..(info & 0xffff) as usize {
            let entry = at + 12 + n * 12;
            let label = u32_at(self.types, entry).ok()?;
            let mut bits = u32_at(self.types, entry + 8).ok()?;
            if info >> 31 == 1 {
                bits &= 0x00ff_ffff; // the upper byte is a bit field's size
            }
            if named(self.strings, label, name) {
                return Some(bits / 8);
            }
            if named(self.strings, label, "")
                && depth < DEPTH_MAX
                && let Some(inner) = self.anonymous(u32_at(self.types, entry + 4).ok()?)
                && let Some(offset) = self.member(inner, name, depth + 1)
            {
                return Some(bits / 8 + offset);
            }
        }
        None
    }

    fn anonymous(&self, id: u32) -> Option<usize> {
        let at = *self.index.get(id as usize)? as usize;
        let kind = u32_at(self.types, at + 4).ok()? >> 24 & 0x1f;
        (kind == STRUCT || kind == UNION).then_some(at)
    }

    /// How many arguments a tracepoint has, by the type of its probes: a pointer to a function
    /// that takes a private pointer first.
    fn arguments(&self, name: &str) -> Option<u32> {
        let of = |id: u32| self.index.get(id as usize).map(|&at| at as usize);
        let typedef = self.index.iter().skip(1).map(|&at| at as usize).find(|&at| {
            u32_at(self.types, at + 4).is_ok_and(|info| info >> 24 & 0x1f == TYPEDEF)
                && u32_at(self.types, at).is_ok_and(|label| named(self.strings, label, name))
        })?;
        let function = of(u32_at(self.types, of(u32_at(self.types, typedef + 8).ok()?)? + 8).ok()?)?;
        let info = u32_at(self.types, function + 4).ok()?;
        (info >> 24 & 0x1f == FUNC_PROTO).then(|| (info & 0xffff).saturating_sub(1))
    }

    /// `structure.member`
    fn path(&self, path: &'static str) -> Option<u32> {
        let (structure, member) = path.split_once('.')?;
        self.member(*self.structures.get(structure)?, member, 0)
    }
}

fn named(strings: &[u8], offset: u32, name: &str) -> bool {
    let at = offset as usize;
    strings.get(at..at + name.len()) == Some(name.as_bytes()) && strings.get(at + name.len()) == Some(&0)
}

/// What is reported of this kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Every offset the BPF programs use
    pub offsets: Offsets,
    /// `sock_send_length` and `sock_recv_length` are there (Linux 6.3)
    pub lengths: bool,
}

/// Looks for everything at once.
pub(super) fn layout(data: &[u8]) -> Result<Layout, BtfError> {
    let btf = Btf::new(data)?;
    let lengths = btf.arguments("btf_trace_sock_send_length") == Some(3);
    Ok(Layout { offsets: offsets(&btf)?, lengths })
}

fn offsets(btf: &Btf<'_>) -> Result<Offsets, BtfError> {
    let needed = |path: &'static str| btf.path(path).ok_or(BtfError::Missing(path));
    let wanted = |path: &'static str| btf.path(path).unwrap_or(UNKNOWN32);
    Ok(Offsets {
        task_pid: needed("task_struct.pid")?,
        task_tgid: needed("task_struct.tgid")?,
        task_exit_code: needed("task_struct.exit_code")?,
        task_real_parent: needed("task_struct.real_parent")?,
        task_mm: needed("task_struct.mm")?,
        mm_arg_start: needed("mm_struct.arg_start")?,
        mm_arg_end: needed("mm_struct.arg_end")?,
        mm_env_start: wanted("mm_struct.env_start"),
        mm_env_end: wanted("mm_struct.env_end"),
        task_fs: wanted("task_struct.fs"),
        fs_pwd: wanted("fs_struct.pwd"),
        fs_root: wanted("fs_struct.root"),
        path_dentry: wanted("path.dentry"),
        dentry_inode: wanted("dentry.d_inode"),
        task_nsproxy: wanted("task_struct.nsproxy"),
        nsproxy_mounts: wanted("nsproxy.mnt_ns"),
        mounts_ns: wanted("mnt_namespace.ns"),
        ns_inum: wanted("ns_common.inum"),
        task_cpus: wanted("task_struct.nr_cpus_allowed"),
        binprm_file: needed("linux_binprm.file")?,
        file_inode: needed("file.f_inode")?,
        inode_ino: needed("inode.i_ino")?,
        inode_sb: needed("inode.i_sb")?,
        super_dev: needed("super_block.s_dev")?,
        sock_family: needed("sock_common.skc_family")?,
        sock_dport: needed("sock_common.skc_dport")?,
        sock_num: needed("sock_common.skc_num")?,
        sock_daddr: needed("sock_common.skc_daddr")?,
        sock_rcv_saddr: needed("sock_common.skc_rcv_saddr")?,
        sock_v6_daddr: wanted("sock_common.skc_v6_daddr"),
        sock_v6_rcv_saddr: wanted("sock_common.skc_v6_rcv_saddr"),
        sock_state: needed("sock_common.skc_state")?,
        sock_err: wanted("sock.sk_err"),
        sock_cookie: wanted("sock_common.skc_cookie"),
        tcp_srtt_us: wanted("tcp_sock.srtt_us"),
        tcp_snd_wnd: wanted("tcp_sock.snd_wnd"),
        tcp_rcv_wnd: wanted("tcp_sock.rcv_wnd"),
        tcp_bytes_sent: wanted("tcp_sock.bytes_sent"),
        tcp_bytes_received: wanted("tcp_sock.bytes_received"),
        tcp_total_retrans: wanted("tcp_sock.total_retrans"),
        tcp_rcv_ooopack: wanted("tcp_sock.rcv_ooopack"),
        tcp_dsack_dups: wanted("tcp_sock.dsack_dups"),
        skb_data: wanted("sk_buff.data"),
        sock_protocol: needed("sock.sk_protocol")?,
        task_files: needed("task_struct.files")?,
        files_fdt: needed("files_struct.fdt")?,
        fdtable_max: needed("fdtable.max_fds")?,
        fdtable_fd: needed("fdtable.fd")?,
        file_private: needed("file.private_data")?,
        inode_mode: needed("inode.i_mode")?,
        socket_sk: needed("socket.sk")?,
        fib6_type: wanted("fib6_result.fib6_type"),
        fib6_info: wanted("fib6_result.f6i"),
        fib6_metric: wanted("fib6_info.fib6_metric"),
        retransmit_args: btf.arguments("btf_trace_tcp_retransmit_skb").unwrap_or(UNKNOWN32),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernels_btf_has_every_offset() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let offsets = layout(&data).expect("offsets").offsets;
        assert!(offsets.task_tgid > offsets.task_pid);
        assert_ne!(offsets.tcp_rcv_ooopack, UNKNOWN32);
        assert_ne!(offsets.tcp_dsack_dups, UNKNOWN32);
        let began =
            [offsets.mm_env_end, offsets.dentry_inode, offsets.mounts_ns, offsets.ns_inum, offsets.task_cpus];
        assert!(!began.contains(&UNKNOWN32), "{began:?}");
        assert!([2, 3].contains(&offsets.retransmit_args), "{}", offsets.retransmit_args);
    }

    #[test]
    fn damaged_btf_is_refused() {
        assert!(matches!(layout(b"\x7fELF"), Err(BtfError::Format)));
        let mut head = vec![0x9f, 0xeb, 1, 0];
        assert!(matches!(layout(&head), Err(BtfError::Truncated)));
        head.extend([24, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(matches!(layout(&head), Err(BtfError::Truncated)));
    }
}
