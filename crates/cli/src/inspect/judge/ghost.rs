//! Finds interests in files that their descriptors do not refer to.

use epollshim_format::findings::Severity;

use super::super::model::{Doing, Ghost, Instance, Interest, Process, Sample};
use super::{ASLEEP, Finding, is_busy, is_its_loop, share, shown, waited_on};
use crate::text::count;

/// One finding for all ghosts of an instance.
pub fn ghosts(process: &Process, instance: &Instance) -> Option<Finding> {
    let ghosts: Vec<&Interest> = instance.interests.iter().filter(|interest| interest.ghost.is_some()).collect();
    let first = ghosts.first()?;
    // Whether the events of the ghosts wake the loop.
    let is_awake = instance.ready.len() > ASLEEP && instance.ready.iter().all(|ready| *ready);
    let living = instance.interests.iter().any(|one| one.ghost.is_none() && process.ready(one) != Some(0));
    let epfds = waited_on(process, instance);
    let busy = process.threads.iter().find(|thread| is_busy(thread) && is_its_loop(process, thread, &epfds));
    // A forked child has the instances of its parent, and closes the descriptors that they watch.
    // Then the ghosts are not its problem (celery).
    let is_here = |one: &Sample| one.doing == Doing::Unknown || one.wait.is_some_and(|wait| epfds.contains(&wait.epfd));
    let is_used = busy.is_some() || process.threads.iter().any(|thread| thread.samples.iter().any(is_here));
    let is_cause = is_awake && !living && is_used;
    let severity = match () {
        () if is_cause => Severity::Error,
        // A daemon closes these when it starts.
        () if ghosts.iter().all(|one| one.fd <= libc::STDERR_FILENO) || !is_used => Severity::Info,
        () => Severity::Warning,
    };
    let closed = ghosts.iter().filter(|one| one.ghost == Some(Ghost::Closed)).count();
    let is_one = ghosts.len() == 1;
    let mut message = match (is_one, closed) {
        (true, 1) => "the descriptor is closed, but still watched".to_owned(),
        (true, _) => "the descriptor is another file now, and the old file is still watched".to_owned(),
        (_, closed) => format!(
            "{} watch files that their descriptors no longer refer to: {closed} closed, {} another file now",
            count(ghosts.len(), "interest"),
            ghosts.len() - closed
        ),
    };
    message.push_str(": a dup, a child or another process keeps the old file open");
    if is_cause {
        message.push_str(", and its events wake every wait");
    }
    if let (true, Some(busy)) = (is_cause, busy) {
        message.push_str(&format!(", on which thread {} uses {} % of a processor", busy.tid, share(busy).unwrap_or(0)));
    }
    message.push_str(if is_used {
        "; use EPOLL_CTL_DEL before close"
    } else {
        "; no thread of this process was seen waiting on it: the instance may belong to the process that forked it"
    });
    let now = process.descriptors.get(&first.fd).filter(|_| is_one).map(|one| format!("now {}", shown(one)));
    Some(Finding {
        id: "ghost",
        severity,
        epfd: instance.epfds.first().copied(),
        fds: ghosts.iter().map(|one| one.fd).collect(),
        tid: None,
        what: now,
        message,
    })
}
