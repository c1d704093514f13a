//! The table of interposed functions. Each function has one row, which holds all that faults,
//! limits, the log and the command know of it.
//!
//! [`for_each_function`](crate::for_each_function) passes the rows to a macro. The library makes
//! its entries and look-ups from the same rows (src/hooks/creators.rs). So a function that creates
//! descriptors is added here, and nowhere else.
//!
//! Sources: the manual pages of section 2 (man-pages 6.03) for errors; Linux v6.1
//! arch/x86/entry/syscalls/syscall_64.tbl for numbers; strace 6.1 src/linux/64/syscallent.h for
//! classes; glibc 2.36 for the system call that a function makes.

use crate::function::Function;

/// What a function does to descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It creates an epoll instance.
    Instance,
    Ctl,
    Wait,
    Close,
    /// It creates a second number for what a first one refers to.
    Duplicate,
    /// It creates descriptors of other kinds.
    Create,
    /// It receives descriptors, if any come with a message.
    Receive,
    /// It creates a descriptor, and returns the address of the stream or directory that owns it.
    Stream,
    /// It returns the address of a stream or directory for a descriptor that existed before.
    Adopt,
    /// It closes a stream or directory, and its descriptor.
    StreamEnd,
    /// It starts another program.
    Start,
    /// It starts a child in the caller's own memory, which may return on the caller's stack. So the
    /// entry jumps to it, and does nothing after it.
    Birth,
    /// It allocates memory. It is hooked only if a rule names it, and belongs to no set: `all` does
    /// not include it.
    Memory,
    /// It neither creates nor closes descriptors: only faults and the log concern it.
    Plain,
}

/// strace's classes of system calls, which name sets of functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Classes(pub u8);

impl Classes {
    pub const NONE: Classes = Classes(0);
    /// `%desc`
    pub const DESC: Classes = Classes(1);
    /// `%file`: it takes a path.
    pub const FILE: Classes = Classes(2);
    /// `%net`, `%network`
    pub const NET: Classes = Classes(4);
    /// `%signal`
    pub const SIGNAL: Classes = Classes(8);

    #[must_use]
    pub const fn with(self, other: Classes) -> Classes {
        Classes(self.0 | other.0)
    }

    #[must_use]
    pub const fn meets(self, other: Classes) -> bool {
        self.0 & other.0 != 0
    }
}

/// One interposed function: a row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub function: Function,
    /// Its name, that of its system call, its aliases and its arguments. They are one text, since
    /// each pointer costs the library 40 bytes.
    pub(crate) words: &'static str,
    /// Its system call number; -1: it is not a system call.
    pub number: i64,
    pub role: Role,
    pub classes: Classes,
    /// It is a cancellation point in POSIX (pthreads(7)).
    pub is_cancellation_point: bool,
    /// Its first argument is a descriptor that existed before the call.
    pub takes_descriptor: bool,
    /// The errors that its manual page documents, by their x86-64 numbers.
    pub errors: Errors,
}

impl Row {
    fn words(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.words.split_ascii_whitespace()
    }

    /// Its name in glibc.
    #[must_use]
    #[inline(never)]
    pub fn name(&self) -> &'static str {
        self.words().next().unwrap_or_default()
    }

    /// The name of the system call that glibc makes for it. A rule for that name applies to this
    /// function, and both are counted together.
    #[must_use]
    #[inline(never)]
    pub fn system_call(&self) -> &'static str {
        self.words().nth(1).unwrap_or_default()
    }

    /// Other names under which glibc exports it. They are hooked as well.
    pub fn aliases(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.words().skip(2).filter(|word| !word.contains('='))
    }

    /// The key of each argument, and how the log writes it (src/log/arguments.rs). Empty if the log
    /// has its own code for the function.
    pub fn arguments(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        self.words().filter_map(|word| word.split_once('='))
    }

    /// Whether a word is its name, that of its system call, or an alias.
    #[must_use]
    #[inline(never)]
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.words().any(|word| word.as_bytes() == name)
    }
}

/// Errors that a manual page documents. They are stored in place, since a pointer costs the library
/// 40 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Errors([u8; MOST_ERRORS]);

const MOST_ERRORS: usize = 26;

impl Errors {
    /// It does not compile if there are more errors than room.
    #[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
    pub(crate) const fn of(errors: &[u16]) -> Errors {
        let mut all = [0; MOST_ERRORS];
        let mut at = 0;
        while at < errors.len() {
            all[at] = errors[at] as u8;
            at += 1;
        }
        Errors(all)
    }

    #[must_use]
    #[inline(never)]
    pub fn all(&self) -> &[u8] {
        let count = self.0.iter().position(|error| *error == 0).unwrap_or(self.0.len());
        self.0.get(..count).unwrap_or(&[])
    }
}

/// Passes the rows of all functions but epoll's and those that close or duplicate to a macro, after
/// the tokens that it is given. Each row is
///
/// ```text
/// Variant name (aliases) number "system call" Role (CLASSES)
///     is-cancellation-point takes-descriptor
///     [what the census notes] where-from "arguments" [errors];
/// ```
///
/// What the census notes:
///
/// - `one KIND [FLAGS]`: one descriptor of this kind. FLAGS is the number (from 0) of the argument
///   that has the close-on-exec flag, whose value is O_CLOEXEC. With `by BIT` the flag has another
///   value.
/// - `one KIND always`: one descriptor that always has the close-on-exec flag.
/// - `pair KIND PAIR [FLAGS]`: two descriptors, which the call writes to the argument PAIR.
/// - `opened FLAGS`: what `open` opens.
/// - `by FUNCTION`: this function of src/hooks/creators.rs notes it.
/// - `stream`: noted by src/hooks/streams.rs.
/// - `start`: another program is started, noted by src/hooks/starters.rs.
/// - `instance [FLAGS]`: an epoll instance.
/// - `copy [placed] [FLAGS]`: another number for the first argument. With `placed` the second
///   argument is that number.
/// - `command`: depends on fcntl's command.
/// - `close`: the first argument is closed.
/// - `range`: a range is closed.
/// - `nothing`.
///
/// Where the real function is from:
///
/// - `libc`.
/// - `raw`: some versions of glibc lack the function. Then the library makes the system call
///   itself.
/// - `pointer`: as `libc`, and the function returns an address.
///
/// The arguments are written for the log: see src/log/arguments.rs.
#[macro_export]
macro_rules! for_each_creator {
    ($then:ident $($before:tt)*) => {
        $then! {
            $($before)*
            Open open (open64 __open __open64 __open_2 __open64_2) 2 "openat" Create (DESC FILE) yes no
                [opened 1] raw "path=path flags=oflags mode=mode"
                [EACCES EAGAIN EBUSY EDQUOT EEXIST EFAULT EFBIG EINTR EINVAL EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE
                 ENODEV ENOENT ENOMEM ENOSPC ENOTDIR ENXIO EOPNOTSUPP EOVERFLOW EPERM EROFS ETXTBSY];
            OpenAt openat (openat64 __openat_2 __openat64_2) 257 "openat" Create (DESC FILE) yes no
                [opened 2] raw "dirfd=dirfd path=path flags=oflags mode=mode"
                [EACCES EAGAIN EBADF EBUSY EDQUOT EEXIST EFAULT EFBIG EINTR EINVAL EISDIR ELOOP EMFILE ENAMETOOLONG
                 ENFILE ENODEV ENOENT ENOMEM ENOSPC ENOTDIR ENXIO EOPNOTSUPP EOVERFLOW EPERM EROFS ETXTBSY];
            Creat creat (creat64) 85 "creat" Create (DESC FILE) yes no
                [one File] libc "path=path mode=octal"
                [EACCES EDQUOT EEXIST EFAULT EINTR EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE ENOENT ENOMEM ENOSPC
                 ENOTDIR EPERM EROFS ETXTBSY];
            Mkstemp mkstemp (mkstemp64) -1 "openat" Create (NONE) yes no
                [one File] libc "template=path"
                [EEXIST EINVAL EACCES EMFILE ENFILE ENOENT ENOSPC EROFS];
            Mkostemp mkostemp (mkostemp64) -1 "openat" Create (NONE) yes no
                [one File 1] libc "template=path flags=pipeflags"
                [EEXIST EINVAL EACCES EMFILE ENFILE ENOENT ENOSPC EROFS];
            PosixOpenpt posix_openpt () -1 "openat" Create (NONE) no no
                [one File 0] libc "flags=oflags"
                [EAGAIN EINVAL EMFILE ENFILE ENOSPC];
            OpenByHandleAt open_by_handle_at () 304 "open_by_handle_at" Create (DESC) no yes
                [one File 2] libc "mount_fd=dirfd handle=pointer flags=oflags"
                [EBADF EFAULT EINVAL ELOOP EMFILE ENFILE EPERM ESTALE];
            Socket socket () 41 "socket" Create (NET) no no
                [one Socket 1] libc "domain=domain type=socktype protocol=int"
                [EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS ENOMEM EPROTONOSUPPORT];
            Socketpair socketpair () 53 "socketpair" Create (NET) no no
                [pair Socket 3 1] libc "domain=domain type=socktype protocol=int pair=pair"
                [EAFNOSUPPORT EFAULT EMFILE ENFILE EOPNOTSUPP EPROTONOSUPPORT];
            Accept accept () 43 "accept" Create (NET) yes yes
                [one Socket] libc "fd=int address=pointer length=pointer"
                [EAGAIN EBADF ECONNABORTED EFAULT EINTR EINVAL EMFILE ENFILE ENOBUFS ENOMEM ENOTSOCK EOPNOTSUPP EPERM
                 EPROTO];
            Accept4 accept4 () 288 "accept4" Create (NET) yes yes
                [one Socket 3] libc "fd=int address=pointer length=pointer flags=sockflags"
                [EAGAIN EBADF ECONNABORTED EFAULT EINTR EINVAL EMFILE ENFILE ENOBUFS ENOMEM ENOTSOCK EOPNOTSUPP EPERM
                 EPROTO];
            Pipe pipe (__pipe) 22 "pipe2" Create (DESC) no no
                [pair Pipe 0] libc "pair=pair"
                [EFAULT EMFILE ENFILE];
            Pipe2 pipe2 () 293 "pipe2" Create (DESC) no no
                [pair Pipe 0 1] libc "pair=pair flags=pipeflags"
                [EFAULT EINVAL EMFILE ENFILE];
            Eventfd eventfd () 290 "eventfd2" Create (DESC) no no
                [one Eventfd 1] libc "initial=unsigned flags=efdflags"
                [EINVAL EMFILE ENFILE ENODEV ENOMEM];
            TimerfdCreate timerfd_create () 283 "timerfd_create" Create (DESC) no no
                [one Timerfd 1] libc "clock=clock flags=tfdflags"
                [EINVAL EMFILE ENFILE ENODEV ENOMEM EPERM];
            Signalfd signalfd () 289 "signalfd4" Create (DESC SIGNAL) no no
                [by after_signalfd] libc "fd=int mask=sigset flags=sfdflags"
                [EBADF EINVAL EMFILE ENFILE ENODEV ENOMEM];
            InotifyInit inotify_init () 253 "inotify_init" Create (DESC) no no
                [one Inotify] libc ""
                [EMFILE ENFILE ENOMEM];
            InotifyInit1 inotify_init1 () 294 "inotify_init1" Create (DESC) no no
                [one Inotify 0] libc "flags=inflags"
                [EINVAL EMFILE ENFILE ENOMEM];
            MemfdCreate memfd_create () 319 "memfd_create" Create (DESC) no no
                [one Memfd 1 by 1] raw "name=path flags=mfdflags"
                [EFAULT EINVAL EMFILE ENFILE ENOMEM EPERM];
            PidfdOpen pidfd_open () 434 "pidfd_open" Create (DESC) no no
                [one Pidfd always] raw "pid=int flags=hex"
                [EINVAL EMFILE ENFILE ENODEV ENOMEM ESRCH];
            PidfdGetfd pidfd_getfd () 438 "pidfd_getfd" Create (DESC) no yes
                [one Received always] raw "pidfd=int fd=int flags=hex"
                [EBADF EINVAL EMFILE ENFILE EPERM ESRCH];
            FanotifyInit fanotify_init () 300 "fanotify_init" Create (DESC) no no
                [one Other 0 by 1] libc "flags=hex event_flags=oflags"
                [EINVAL EMFILE ENOMEM ENOSYS EPERM];
            Recvmsg recvmsg () 47 "recvmsg" Receive (NET) yes yes
                [by after_recvmsg] libc "fd=int message=pointer flags=hex"
                [EAGAIN EBADF ECONNREFUSED EFAULT EINTR EINVAL ENOMEM ENOTCONN ENOTSOCK];
            Recvmmsg recvmmsg () 299 "recvmmsg" Receive (NET) yes yes
                [by after_recvmmsg] libc "fd=int messages=pointer count=unsigned flags=hex timeout=pointer"
                [EAGAIN EBADF ECONNREFUSED EFAULT EINTR EINVAL ENOMEM ENOTCONN ENOTSOCK];
            Fopen fopen (fopen64) -1 "openat" Stream (NONE) yes no
                [stream] pointer "path=path mode=path"
                [EACCES EDQUOT EEXIST EINTR EINVAL EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE ENODEV ENOENT ENOMEM ENOSPC
                 ENOTDIR ENXIO EOVERFLOW EPERM EROFS ETXTBSY];
            Fdopen fdopen () -1 "fdopen" Adopt (NONE) no yes
                [nothing] pointer "fd=int mode=path"
                [EBADF EINVAL ENOMEM];
            Freopen freopen (freopen64) -1 "openat" Stream (NONE) yes no
                [stream] pointer "path=path mode=path stream=pointer"
                [EACCES EDQUOT EEXIST EINTR EINVAL EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE ENODEV ENOENT ENOMEM ENOSPC
                 ENOTDIR ENXIO EOVERFLOW EPERM EROFS ETXTBSY];
            Tmpfile tmpfile (tmpfile64) -1 "openat" Stream (NONE) yes no
                [stream] pointer ""
                [EACCES EEXIST EINTR EMFILE ENFILE ENOSPC EROFS];
            Fclose fclose () -1 "close" StreamEnd (NONE) yes no
                [stream] libc "stream=pointer"
                [EBADF EDQUOT EFBIG EINTR EIO ENOSPC EPIPE];
            Opendir opendir () -1 "openat" Stream (NONE) yes no
                [stream] pointer "path=path"
                [EACCES EMFILE ENFILE ENOENT ENOMEM ENOTDIR];
            Fdopendir fdopendir () -1 "fdopendir" Adopt (NONE) no yes
                [nothing] pointer "fd=int"
                [EBADF ENOMEM ENOTDIR];
            Closedir closedir () -1 "close" StreamEnd (NONE) yes no
                [stream] libc "directory=pointer"
                [EBADF];
            Popen popen () -1 "pipe2" Stream (NONE) yes no
                [stream] pointer "command=path mode=path"
                [EAGAIN EINVAL EMFILE ENFILE ENOMEM];
            Pclose pclose () -1 "close" StreamEnd (NONE) yes no
                [stream] libc "stream=pointer"
                [ECHILD];
            PosixSpawn posix_spawn () -1 "posix_spawn" Start (NONE) no no
                [start] libc "pid=pointer path=path actions=pointer attributes=pointer arguments=pointer environment=pointer"
                [E2BIG EACCES EAGAIN EINVAL ENOENT ENOEXEC ENOMEM];
            PosixSpawnp posix_spawnp () -1 "posix_spawnp" Start (NONE) no no
                [start] libc "pid=pointer file=path actions=pointer attributes=pointer arguments=pointer environment=pointer"
                [E2BIG EACCES EAGAIN EINVAL ENOENT ENOEXEC ENOMEM];
            System system () -1 "system" Start (NONE) yes no
                [start] libc "command=path"
                [EAGAIN ENOMEM];
            Bind bind () 49 "bind" Plain (NET) no yes
                [nothing] libc "fd=int address=pointer length=unsigned"
                [EACCES EADDRINUSE EADDRNOTAVAIL EBADF EFAULT EINVAL ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR ENOTSOCK
                 EROFS];
            Listen listen () 50 "listen" Plain (NET) no yes
                [nothing] libc "fd=int backlog=int"
                [EADDRINUSE EBADF ENOTSOCK EOPNOTSUPP];
            Connect connect () 42 "connect" Plain (NET) yes yes
                [nothing] libc "fd=int address=pointer length=unsigned"
                [EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF ECONNREFUSED EFAULT EINPROGRESS
                 EINTR EISCONN ENETUNREACH ENOTSOCK EPERM EPROTOTYPE ETIMEDOUT];
            Setsockopt setsockopt () 54 "setsockopt" Plain (NET) no yes
                [nothing] libc "fd=int level=int option=int value=pointer length=unsigned"
                [EBADF EFAULT EINVAL ENOPROTOOPT ENOTSOCK];
            Fork fork () -1 "fork" Plain (NONE) no no
                [nothing] libc ""
                [EAGAIN ENOMEM ENOSYS];
            PthreadCreate pthread_create () -1 "pthread_create" Plain (NONE) no no
                [nothing] libc "thread=pointer attributes=pointer function=pointer argument=pointer"
                [EAGAIN EINVAL EPERM];
            Vfork vfork (__vfork) -1 "vfork" Birth (NONE) no no
                [nothing] libc ""
                [EAGAIN ENOMEM];
            Clone clone (__clone) -1 "clone" Birth (NONE) no no
                [nothing] libc "function=pointer stack=pointer flags=hex argument=pointer"
                [EAGAIN ENOMEM];
            Malloc malloc () -1 "malloc" Memory (NONE) no no
                [nothing] pointer "size=unsigned"
                [ENOMEM];
            Calloc calloc () -1 "calloc" Memory (NONE) no no
                [nothing] pointer "count=unsigned size=unsigned"
                [ENOMEM];
            Realloc realloc () -1 "realloc" Memory (NONE) no no
                [nothing] pointer "memory=pointer size=unsigned"
                [ENOMEM];
            PosixMemalign posix_memalign () -1 "posix_memalign" Memory (NONE) no no
                [nothing] libc "memory=pointer alignment=unsigned size=unsigned"
                [ENOMEM];
            AlignedAlloc aligned_alloc () -1 "aligned_alloc" Memory (NONE) no no
                [nothing] pointer "alignment=unsigned size=unsigned"
                [ENOMEM];
            Mmap mmap () -1 "mmap" Memory (NONE) no no
                [nothing] pointer "address=pointer length=unsigned protection=hex flags=hex fd=int offset=unsigned"
                [ENOMEM];
        }
    };
}

/// The same for all rows of the table. The epoll functions, `close`, `dup`, `fcntl` and
/// `close_range` come first.
#[macro_export]
macro_rules! for_each_function {
    ($then:ident) => {
        $crate::for_each_creator! { $then
            EpollCreate epoll_create () 213 "epoll_create" Instance (DESC) no no [instance] raw ""
                [EINVAL EMFILE ENFILE ENOMEM];
            EpollCreate1 epoll_create1 () 291 "epoll_create1" Instance (DESC) no no [instance 0] raw ""
                [EINVAL EMFILE ENFILE ENOMEM];
            EpollCtl epoll_ctl () 233 "epoll_ctl" Ctl (DESC) no no [nothing] raw ""
                [EBADF EEXIST EINVAL ELOOP ENOENT ENOMEM ENOSPC EPERM];
            EpollWait epoll_wait () 232 "epoll_wait" Wait (DESC) yes no [nothing] raw ""
                [EBADF EFAULT EINTR EINVAL];
            EpollPwait epoll_pwait () 281 "epoll_pwait" Wait (DESC) yes no [nothing] raw ""
                [EBADF EFAULT EINTR EINVAL];
            EpollPwait2 epoll_pwait2 () 441 "epoll_pwait2" Wait (DESC) yes no [nothing] raw ""
                [EBADF EFAULT EINTR EINVAL];
            Close close (__close) 3 "close" Close (DESC) yes yes [close] raw ""
                [EBADF EINTR EIO ENOSPC EDQUOT];
            Dup dup () 32 "dup" Duplicate (DESC) no yes [copy] raw ""
                [EBADF EMFILE ENOMEM];
            Dup2 dup2 (__dup2) 33 "dup2" Duplicate (DESC) no yes [copy placed] raw ""
                [EBADF EBUSY EINTR EMFILE ENOMEM];
            Dup3 dup3 () 292 "dup3" Duplicate (DESC) no yes [copy placed 2] raw ""
                [EBADF EBUSY EINTR EINVAL EMFILE ENOMEM];
            Fcntl fcntl (fcntl64 __fcntl) 72 "fcntl" Duplicate (DESC) yes yes [command] raw ""
                [EACCES EAGAIN EBADF EBUSY EDEADLK EFAULT EINTR EINVAL EMFILE ENOLCK ENOTDIR EPERM];
            CloseRange close_range () 436 "close_range" Close (NONE) no no [range] raw ""
                [EINVAL EMFILE ENOMEM];
        }
    };
}
