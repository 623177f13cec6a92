//! Names that nobody can know beforehand, for files and folders that others may see.

use std::ffi::OsString;

/// A name that begins so, with 64 random bits behind it.
pub(crate) fn name(prefix: &str) -> OsString {
    format!("{prefix}{:016x}", random()).into()
}

/// 64 random bits of the kernel's.
pub(crate) fn random() -> u64 {
    let mut bytes = [0u8; 8];
    #[expect(unsafe_code, reason = "getrandom has no safe form")]
    // SAFETY: the call writes at most that many bytes into the buffer, which is a local.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // Up to 256 bytes it neither fails nor is cut short once the kernel has started.
    debug_assert_eq!(got, 8);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_like_another() {
        let (one, other) = (name("a-"), name("a-"));
        assert!(one != other && one.len() == 18, "{one:?} {other:?}");
    }
}
