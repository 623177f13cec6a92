//! Offsets in the record of a tracepoint, from its tracefs `format` file.

/// The offset of a field, bytes; `None` when the format does not have it.
pub fn offset(format: &str, field: &str) -> Option<u32> {
    format.lines().find_map(|line| {
        let (declaration, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
        let name = declaration.rsplit([' ', '*']).next()?.split('[').next()?;
        (name == field).then(|| rest.trim().strip_prefix("offset:")?.split(';').next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn a_fields_offset_is_read_by_name() {
        let format = "name: x\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
            \n\tfield:struct file_lock * fl;\toffset:8;\tsize:8;\n\tfield:__u8 saddr[4];\toffset:36;\tsize:4;\n\
            \tfield:int ret;\toffset:80;\tsize:4;\tsigned:1;\n";
        assert_eq!(offset(format, "ret"), Some(80));
        assert_eq!(offset(format, "fl"), Some(8));
        assert_eq!(offset(format, "saddr"), Some(36));
        assert_eq!(offset(format, "gone"), None);
    }
}
