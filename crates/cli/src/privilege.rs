//! Whether executing a file raises privileges. If it does, the loader ignores LD_PRELOAD
//! (AT_SECURE, ld.so(8)).

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sys;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Privilege {
    /// The source of the privileges as text: `setuid (user 0)`.
    pub what: String,
    /// Whether the calling user has these privileges anyway.
    pub is_own: bool,
}

/// The privileges that a file gives. None: it gives none, or they have no effect here (nosuid
/// mount, no_new_privs).
#[must_use]
pub fn of(path: &Path) -> Option<Privilege> {
    let data = std::fs::metadata(path).ok()?;
    let capabilities = sys::attribute(path, c"security.capability").and_then(|value| capabilities(&value));
    // A set-group-ID bit without the group's execute permission means mandatory locking (Linux
    // fs/exec.c, bprm_fill_uid).
    let mode = data.mode();
    let setuid = (mode & libc::S_ISUID != 0).then(|| data.uid());
    let group = libc::S_ISGID | libc::S_IXGRP;
    let setgid = (mode & group == group).then(|| data.gid());
    if setuid.is_none() && setgid.is_none() && capabilities.is_none()
        || sys::is_mounted_nosuid(path)
        || has_no_new_privileges()
    {
        return None;
    }
    let (user, own_group) = sys::user();
    let what: Vec<String> = [
        setuid.map(|owner| format!("setuid (user {owner})")),
        setgid.map(|group| format!("setgid (group {group})")),
        capabilities.as_ref().map(|names| format!("file capabilities ({names})")),
    ]
    .into_iter()
    .flatten()
    .collect();
    Some(Privilege {
        what: what.join(", "),
        // Root gains nothing from capabilities (Linux security/commoncap.c,
        // cap_bprm_creds_from_file).
        is_own: setuid.is_none_or(|owner| owner == user)
            && setgid.is_none_or(|group| group == own_group)
            && (capabilities.is_none() || user == 0),
    })
}

fn has_no_new_privileges() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|text| text.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"])))
}

/// Names of capabilities in the order of their numbers (Linux 6.x include/uapi/linux/capability.h),
/// without `cap_`.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The names of the capabilities that a `security.capability` attribute permits (struct
/// vfs_cap_data). None: no capabilities.
fn capabilities(value: &[u8]) -> Option<String> {
    let mut words = value.chunks_exact(4).filter_map(|word| Some(u64::from(u32::from_le_bytes(word.try_into().ok()?))));
    let (_magic, permitted, _inheritable) = (words.next()?, words.next()?, words.next()?);
    let permitted = permitted | words.next().unwrap_or(0) << 32;
    let names: Vec<String> = (0..64)
        .filter(|bit| permitted & 1 << bit != 0)
        .map(|bit| NAMES.get(bit).map_or_else(|| format!("cap_{bit}"), |name| format!("cap_{name}")))
        .collect();
    (!names.is_empty()).then(|| names.join(","))
}

#[cfg(test)]
mod tests {
    use super::capabilities;

    #[test]
    fn an_attribute_as_setcap_writes_it_is_told_by_name() {
        // setcap cap_net_bind_service,cap_bpf=ep; revision 2, effective.
        let value = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(capabilities(&value).as_deref(), Some("cap_net_bind_service,cap_bpf"));
        assert_eq!(capabilities(&[0; 20]), None);
        assert_eq!(capabilities(&value[..7]), None);
    }
}
