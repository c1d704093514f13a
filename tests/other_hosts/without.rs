//! The C programs that a host cannot run even without the library, each with the reason. The test
//! checks the reason.

pub struct Without {
    hosts: &'static [&'static str],
    /// The check's name, or how it begins.
    check: &'static str,
    pub why: &'static str,
    /// Part of the output of the compiler or of the native run.
    shown_by: &'static str,
}

impl Without {
    /// Whether the failure is this one, and of a compiler or of the program without the library.
    pub fn is_shown_by(&self, failure: &str) -> bool {
        let native =
            failure.starts_with("cc ") || failure.contains("fails natively") || failure.contains("ends natively");
        native && failure.contains(self.shown_by)
    }
}

const MUSL: &[&str] = &["musl", "musl-bullseye", "musl-trixie", "musl-sid"];
/// musl 1.2.2 and 1.2.3. (The newer ones are 1.2.5 and 1.2.6.)
const OLDER_MUSL: &[&str] = &["musl-bullseye", "musl"];
const NEWER_MUSL: &[&str] = &["musl-trixie", "musl-sid"];

const ALL: &[Without] = &[
    Without {
        hosts: OLDER_MUSL,
        check: "instances_are_created",
        why: "before musl 1.2.5 `epoll_create` takes any size, also 0 and -1",
        shown_by: ": epoll_create(0): expected -1",
    },
    Without {
        hosts: MUSL,
        check: "every_hook_has_the_prototype",
        why: "musl has neither glibc's own names (`__close`, `fcntl64`) nor the functions that glibc 2.34 brought",
        shown_by: "FAIL fcntl64: expected the loader to find what the program calls, got none",
    },
    Without {
        hosts: MUSL,
        check: "an_unwinder_finds_its_way",
        why: "it is linked with this machine's libgcc_eh, which needs glibc's `_dl_find_object`",
        shown_by: "undefined reference to `_dl_find_object'",
    },
    Without {
        hosts: OLDER_MUSL,
        check: "descriptors_are_born",
        why: "before musl 1.2.5 `dup3` takes flags that glibc refuses",
        shown_by: ": dup3(",
    },
    Without {
        hosts: OLDER_MUSL,
        check: "descriptors with",
        why: "before musl 1.2.5 `dup3` takes flags that glibc refuses",
        shown_by: "ends natively with",
    },
    Without {
        hosts: MUSL,
        check: "epoll_works_before_main",
        why: "musl has no `on_exit`, and runs no function of `.preinit_array`",
        shown_by: "undefined reference to `on_exit'",
    },
    Without {
        hosts: MUSL,
        check: "constructor_user with",
        why: "musl has no `on_exit`, and runs no function of `.preinit_array`",
        shown_by: "undefined reference to `on_exit'",
    },
    Without {
        hosts: MUSL,
        check: "whatever_makes_descriptors",
        why: "musl's `recvmsg` itself writes to the address that it is given",
        shown_by: "ends natively and under the shim with signal: 11",
    },
    Without {
        hosts: MUSL,
        check: "births with",
        why: "musl's `recvmsg` itself writes to the address that it is given",
        shown_by: "ends natively with signal: 11",
    },
    Without {
        hosts: NEWER_MUSL,
        check: "a_thread_with_storage_of_its_own",
        why: "since musl 1.2.5 `clone` refuses the flags of threads",
        shown_by: "own_tls fails natively",
    },
    Without {
        hosts: NEWER_MUSL,
        check: "own_tls with",
        why: "since musl 1.2.5 `clone` refuses the flags of threads",
        shown_by: "own_tls: ends natively with",
    },
    Without {
        hosts: &["musl-bullseye"],
        check: "a_cancelled_wait",
        why: "before musl 1.2.3 `epoll_wait` is no cancellation point",
        shown_by: "FAIL epoll_wait: expected PTHREAD_CANCELED",
    },
    Without {
        hosts: &["musl-bullseye"],
        check: "cancel_epoll_wait with",
        why: "before musl 1.2.3 `epoll_wait` is no cancellation point",
        shown_by: "cancel_epoll_wait: ends natively with",
    },
    Without {
        hosts: &["no-libgcc"],
        check: "whatever_makes_descriptors",
        why: "without libgcc_s.so.1 glibc cancels no thread",
        shown_by: "libgcc_s.so.1 must be installed for pthread_cancel",
    },
    Without {
        hosts: &["no-libgcc"],
        check: "births with",
        why: "without libgcc_s.so.1 glibc cancels no thread",
        shown_by: "libgcc_s.so.1 must be installed for pthread_cancel",
    },
    Without {
        hosts: &["no-libgcc"],
        check: "an_unwinder_finds_its_way",
        why: "it needs libgcc_s.so.1",
        shown_by: "error while loading shared libraries: libgcc_s.so.1",
    },
    Without {
        hosts: &["bullseye"],
        check: "every_hook_has_the_prototype",
        why: "before glibc 2.34 libpthread has a `fcntl` and a `system` of its own, so that dlsym returns another function than a call uses",
        shown_by: "FAIL system: expected the loader to find what the program calls, got another",
    },
    Without {
        hosts: &["no-libgcc"],
        check: "a_cancelled_wait",
        why: "without libgcc_s.so.1 glibc cancels no thread",
        shown_by: "libgcc_s.so.1",
    },
    Without {
        hosts: &["no-libgcc"],
        check: "cancel_epoll_wait",
        why: "without libgcc_s.so.1 glibc cancels no thread",
        shown_by: "libgcc_s.so.1 must be installed for pthread_",
    },
    Without {
        hosts: &["no-libgcc"],
        check: "a_thread_may_exit_in_a_handler",
        why: "without libgcc_s.so.1 glibc ends no thread by pthread_exit",
        shown_by: "libgcc_s.so.1 must be installed for pthread_exit",
    },
    Without {
        hosts: &["no-libgcc"],
        check: "exit_in_handler",
        why: "without libgcc_s.so.1 glibc ends no thread by pthread_exit",
        shown_by: "libgcc_s.so.1 must be installed for pthread_exit",
    },
];

pub fn without(host: &str, check: &str) -> Option<&'static Without> {
    ALL.iter().find(|known| known.hosts.contains(&host) && check.starts_with(known.check))
}

/// The entries of a host, for docs/hosts.md.
pub fn of(host: &str) -> impl Iterator<Item = &'static Without> {
    ALL.iter().filter(move |known| known.hosts.contains(&host))
}

impl Without {
    pub fn check(&self) -> &'static str {
        self.check
    }
}
