//! Compares the parser with strace itself: it must accept what strace accepts, except for the
//! features that `faults` lists as not supported.

use std::process::Command;

use epollshim_format::faults::check;

/// Expressions that strace and the library both accept or both refuse, the library with
/// EPOLLSHIM_INJECT_IMPOSSIBLE=1.
const ALIKE: &str = "
epoll_wait:error=EINTR
epoll_wait:error=eintr
epoll_wait:error=ERESTARTSYS
epoll_wait:error=ERESTART_RESTARTBLOCK
epoll_wait:error=ENOTSUPP
epoll_wait:error=ERECALLCONFLICT
epoll_wait:error=EMFIL
epoll_wait:error=ENOPARAM
epoll_wait:error=+5
epoll_wait:error= 5
epoll_wait:error=005
epoll_wait:error=5 
epoll_wait:error=-5
epoll_wait:error=0
epoll_wait:error=4095
epoll_wait:error=4096
epoll_wait:error=0x5
epoll_wait:error=99999999999999999999
epoll_wait:error=
epoll_wait:error
epoll_wait
epoll_wait:
epoll_wait:when=1
epoll_wait:bogus
epoll_wait:error=5:bogus=1
epoll_wait:error=5:error=6
epoll_wait:error=5:retval=0
epoll_wait:retval=0:retval=0
epoll_wait:signal=1:signal=1
epoll_wait:delay_enter=1:delay_enter=1
epoll_wait:delay_exit=1:delay_exit=1
epoll_wait:error=5:when=1:when=2
epoll_wait:error=5:when=0:when=2
epoll_wait:error=EINTR:signal=USR1:delay_enter=1:delay_exit=1:when=1
epoll_wait::error=5
epoll_wait:error=5:
epoll_wait,,epoll_ctl:error=5
,epoll_wait:error=5
epoll_wait,:error=5
,:error=5
:error=5
::error=5
?epoll_wait:error=5
??epoll_wait,?nonsense:error=5
nonsense:error=5
all:error=5:when=9999
fcntl64:error=5
epoll_wait;close:error=5
close,dup,dup2,dup3,fcntl,close_range:error=5
epoll_create,epoll_create1,epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2:error=5
epoll_wait:retval=0
epoll_wait:retval=0x10
epoll_wait:retval=0x
epoll_wait:retval=010
epoll_wait:retval=-1
epoll_ctl:retval=7
epoll_wait:retval=09
epoll_wait:retval= +5
epoll_wait:retval=5 
epoll_wait:retval=-
epoll_wait:retval=
epoll_wait:retval=18446744073709551615
epoll_wait:retval=18446744073709551616
epoll_wait:retval=-18446744073709551615
epoll_wait:signal=SIGUSR1
epoll_wait:signal=usr1
epoll_wait:signal=sIgusr1
epoll_wait:signal=10
epoll_wait:signal=0
epoll_wait:signal=64
epoll_wait:signal=65
epoll_wait:signal=+10
epoll_wait:signal=RTMIN
epoll_wait:signal=RT_1
epoll_wait:signal=SIGRT_32
epoll_wait:signal=RT_33
epoll_wait:signal=IO
epoll_wait:signal=STKFLT
epoll_wait:signal=LOST
epoll_wait:signal=
epoll_wait:error=5:when=1
epoll_wait:error=5:when=0
epoll_wait:error=5:when=65535
epoll_wait:error=5:when=1..1
epoll_wait:error=5:when=2..1
epoll_wait:error=5:when=1..65534
epoll_wait:error=5:when=1..
epoll_wait:error=5:when=1.2
epoll_wait:error=5:when=1...3
epoll_wait:error=5:when=1..3.
epoll_wait:error=5:when=1+
epoll_wait:error=5:when=1+0
epoll_wait:error=5:when=1+65535
epoll_wait:error=5:when=1..3+
epoll_wait:error=5:when=1..3+2
epoll_wait:error=5:when=1..3+0
epoll_wait:error=5:when=1++2
epoll_wait:error=5:when=+1
epoll_wait:error=5:when=1..+3
epoll_wait:error=5:when=1+2+3
epoll_wait:error=5:when=1+-1
epoll_wait:error=5:when=1-
epoll_wait:error=5:when=-1
epoll_wait:error=5:when= 1
epoll_wait:error=5:when=1.. 3
epoll_wait:error=5:when=01
epoll_wait:error=5:when=0x1
epoll_wait:error=5:when=
epoll_wait:delay_enter=1
epoll_wait:delay_enter=1s
epoll_wait:delay_enter=1ms
epoll_wait:delay_enter=1mS
epoll_wait:delay_enter=1us
epoll_wait:delay_enter=1ns
epoll_wait:delay_enter=1.5ms
epoll_wait:delay_enter=1.5MS
epoll_wait:delay_enter=.5s
epoll_wait:delay_enter=5.
epoll_wait:delay_enter=.
epoll_wait:delay_enter=1e3
epoll_wait:delay_enter=1e3us
epoll_wait:delay_enter=1E2ms
epoll_wait:delay_enter=1e-3s
epoll_wait:delay_enter=1e
epoll_wait:delay_enter=1.5e
epoll_wait:delay_enter=1e400
epoll_wait:delay_enter=inf
epoll_wait:delay_enter=-0
epoll_wait:delay_enter=-1
epoll_wait:delay_enter=+1
epoll_wait:delay_enter=+-1
epoll_wait:delay_enter= 1
epoll_wait:delay_enter=1 ms
epoll_wait:delay_enter=1m
epoll_wait:delay_enter=s
epoll_wait:delay_enter=
epoll_wait:delay_enter=0x10
epoll_wait:delay_enter=1sec
epoll_wait:delay_enter=9223372036854775807s
epoll_wait:delay_enter=9223372036854775808
232:error=5
257:error=5
99999:error=5
none:error=5
!none:error=5
!all:error=5
!epoll_wait:error=5
!:error=5
close,!dup:error=5
%desc:error=5
desc:error=5
file,desc:error=5
%file:error=5
%net:error=5
%network:error=5
network:error=5
net:error=5
%signal:error=5
/epoll_w:error=5
/^(open|close)$:error=5
/zzz:error=5
/(:error=5
?/(:error=5
openat,socket,accept4,pipe2,eventfd2,signalfd4:error=EMFILE
";

/// Expressions that only one of the two accepts, and whether that is strace.
const APART: [(&str, bool); 21] = [
    ("epoll_wait:syscall=getpid:error=5", true),
    ("epoll_wait:poke_enter=@arg1=00:error=5", true),
    ("epoll_wait@64:error=5", true),
    ("%memory:error=5", true),
    ("?nonsense:error=5", true),
    ("/a**:error=5", true),
    // Only the library has these.
    ("epoll:error=5", false),
    ("%creat:error=5", false),
    ("mkstemp:error=5", false),
    ("epoll_wait:timeout", false),
    ("epoll_wait:batch=1", false),
    ("epoll_wait:error=5:prob=0.5", false),
    ("epoll_wait:error=EWOULDBLOCK", false),
    ("epoll_wait:error=ENOTSUP", false),
    ("epoll_wait:signal=RTMIN+1", false),
    ("epoll_wait:signal=RTMAX", false),
    ("epoll_wait:signal=CLD", false),
    ("epoll_wait:error=5:when=65536", false),
    ("epoll_wait:error=5:when=1..65535", false),
    ("epoll_wait:error=5:when=1+65536", false),
    ("epoll_wait:delay_enter=1S", false),
];

/// Whether strace accepts an expression. It prints its version, and traces nothing.
fn strace(expression: &str) -> bool {
    let answer = Command::new("strace").arg("-e").arg(format!("inject={expression}")).arg("-V").output();
    answer.is_ok_and(|answer| answer.status.success())
}

#[test]
fn rules_that_strace_accepts_are_accepted() {
    let Some(program) = testkit::tool("strace") else { return };
    let Ok(answer) = Command::new(program).arg("-V").output() else { return };
    let version = String::from_utf8_lossy(&answer.stdout).lines().next().unwrap_or_default().to_owned();
    if !version.ends_with("version 6.1") {
        return eprintln!("skipped: {version}; wanted: 6.1 (others know other names and numbers)");
    }
    for expression in ALIKE.lines().filter(|line| !line.is_empty()) {
        let here = check(expression.as_bytes(), true);
        assert_eq!(strace(expression), here.is_ok(), "'{expression}': {here:?}");
    }
    for (expression, by_strace) in APART {
        let here = check(expression.as_bytes(), true);
        assert_eq!((strace(expression), here.is_ok()), (by_strace, !by_strace), "'{expression}': {here:?}");
    }
}
