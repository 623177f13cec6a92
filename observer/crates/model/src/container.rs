//! Control groups that containers and services have. In: a control group's path, as the kernel gives it. Out:
//! which engine's container that is, or which unit of systemd's.

/// A container, or a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group<'a> {
    /// What made it: `podman`, `docker`, `containerd`, `cri-o`, `buildah`, `buildkit`, `lxc`, `systemd`
    pub engine: &'static str,
    /// Its number or name there
    pub id: &'a str,
}

/// What stands in front of a container's number in the name of its control group, and whose that is. What
/// systemd makes of it ends with `.scope`.
const PREFIXES: [(&str, &str); 8] = [
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
    ("docker-", "docker"),
    ("buildah-", "buildah"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("lxc.payload.", "lxc"),
];

/// Bytes of a container's number that are shown: what the engines show.
const SHOWN: usize = 12;

impl<'a> Group<'a> {
    /// The innermost container of a path, or else the innermost unit.
    pub fn of(path: &'a str) -> Option<Self> {
        let mut unit = None;
        let mut parts = path.split('/').rev().peekable();
        while let Some(part) = parts.next() {
            let name = part.strip_suffix(".scope").unwrap_or(part);
            // Monitors and build processes lie beside the container, in a group of nearly the same name.
            let named =
                PREFIXES.iter().find_map(|(prefix, engine)| Some((name.strip_prefix(prefix)?, *engine)));
            if let Some((id, engine)) = named.filter(|(id, _)| !id.is_empty() && !id.starts_with("conmon-")) {
                return Some(Self { engine, id });
            }
            if is_number(name) {
                let above = parts.peek().copied().unwrap_or_default();
                let engine = match above {
                    "docker" => "docker",
                    "buildkit" => "buildkit",
                    _ => "containerd", // a pod's, or a namespace of containerd's
                };
                return Some(Self { engine, id: name });
            }
            if let Some(service) = part.strip_suffix(".service") {
                unit = unit.or(Some(Self { engine: "systemd", id: service }));
            }
        }
        unit
    }

    /// Whether it is a container, and no unit of the machine's own.
    pub fn is_container(&self) -> bool {
        self.engine != "systemd"
    }

    /// Its number, as engines show it.
    pub fn short(&self) -> &'a str {
        if is_number(self.id) { &self.id[..SHOWN] } else { self.id }
    }
}

/// What engines make: 64 hexadecimal digits.
fn is_number(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_says_whose_container_it_is() {
        let id = "0123456789abcdef".repeat(4);
        for (path, engine, short) in [
            (format!("/machine.slice/libpod-{id}.scope"), "podman", "0123456789ab"),
            (format!("/libpod_parent/libpod-{id}"), "podman", "0123456789ab"),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container"
                ),
                "podman",
                "0123456789ab",
            ),
            (format!("/system.slice/docker-{id}.scope"), "docker", "0123456789ab"),
            (format!("/docker/{id}"), "docker", "0123456789ab"),
            (format!("/docker/buildkit/{id}"), "buildkit", "0123456789ab"),
            (
                format!("/kubepods.slice/kubepods-pod12.slice/cri-containerd-{id}.scope"),
                "containerd",
                "0123456789ab",
            ),
            (format!("/kubepods/besteffort/pod12/{id}"), "containerd", "0123456789ab"),
            (format!("/kubepods.slice/crio-{id}.scope"), "cri-o", "0123456789ab"),
            ("/buildah-buildah3216452".to_owned(), "buildah", "buildah3216452"),
            ("/lxc.payload.web/system.slice".to_owned(), "lxc", "web"),
            ("/system.slice/ci-runner.service".to_owned(), "systemd", "ci-runner"),
        ] {
            let group = Group::of(&path).unwrap();
            assert_eq!(
                (group.engine, group.short(), group.is_container()),
                (engine, short, engine != "systemd"),
                "{path}"
            );
        }
        for path in ["/", "", "/user.slice/user-0.slice/session-3.scope", "/docker/abc"] {
            assert_eq!(Group::of(path), None, "{path}");
        }
    }
}
