//! Decides whose memory the caller runs in: a pure function over facts.
//!
//! The decision asks for one fact at a time, so that the usual cases cost one system call. The code
//! that asks the kernel (`questions.rs`) repeats until there is a verdict.

/// What is known about one fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact<T> {
    NotAsked,
    /// The kernel does not answer, or a filter answers in its place.
    Refused,
    Known(T),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// The caller's pid, in its own pid namespace.
    Pid,
    /// Whether the calling task has a robust list (get_robust_list(2)).
    IsListed,
    /// Whether the calling task is a thread of the process that the owner's pid names in the
    /// caller's namespace.
    IsThreadOfOwner,
    SharesMemory,
    OwnerExists,
    SharesTable,
}

impl Question {
    pub const COUNT: usize = 6;
}

/// The process that has claimed the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// No process: a fork has wiped the word.
    Nobody,
    /// A process that could not learn its pid.
    Unnamed,
    Pid(i32),
}

/// The note that a thread leaves before it starts a child in its own memory. A child that has the
/// thread's TLS also finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Note {
    pub is_set: bool,
    /// The thread had a robust list. The kernel gives a child none (Linux v6.1 kernel/fork.c,
    /// `futex_init_task`).
    pub lender_is_listed: bool,
    /// There was a child with the same descriptor table (`CLONE_FILES`).
    pub table_is_shared: bool,
    /// There was a child with a copy of the descriptor table.
    pub table_is_copied: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub owner: Owner,
    /// The owner claimed memory that was certainly its own. Otherwise a child of `vfork` may have
    /// claimed it first.
    pub is_sure: bool,
    pub note: Note,
    pub pid: Fact<i32>,
    pub is_listed: Fact<bool>,
    pub is_thread_of_owner: Fact<bool>,
    pub shares_memory: Fact<bool>,
    pub owner_exists: Fact<bool>,
    pub shares_table: Fact<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Own,
    /// A fork's copy that no process has claimed.
    Fresh,
    /// A child of `vfork` claimed it before the owner did, and is gone.
    Abandoned,
    /// Another process's memory.
    Borrowed {
        shares_table: bool,
    },
}

impl<T: Copy> Fact<T> {
    /// Ok(None): the kernel refused to answer. Err: ask this first.
    fn or_ask(self, question: Question) -> Result<Option<T>, Question> {
        match self {
            Fact::NotAsked => Err(question),
            Fact::Refused => Ok(None),
            Fact::Known(value) => Ok(Some(value)),
        }
    }
}

/// Err: the question whose answer is needed next. No question is asked twice.
pub fn decide(facts: &Facts) -> Result<Verdict, Question> {
    let owner = match facts.owner {
        Owner::Nobody => return Ok(Verdict::Fresh),
        Owner::Unnamed => return own_unless_noted(facts),
        Owner::Pid(owner) => owner,
    };
    let pid = facts.pid.or_ask(Question::Pid)?;
    if pid == Some(owner) {
        return own_unless_noted(facts);
    }
    // The pid differs or is not known. If the thread belongs to the owner, a filter made up the
    // answer.
    match (facts.is_thread_of_owner.or_ask(Question::IsThreadOfOwner)?, pid) {
        (Some(true), _) | (None, None) => own_unless_noted(facts),
        _ => another_process(facts),
    }
}

/// The caller looks like the owner. A child in another pid namespace may look the same: both can
/// have pid 1.
#[inline]
fn own_unless_noted(facts: &Facts) -> Result<Verdict, Question> {
    if facts.note.is_set && facts.note.lender_is_listed && facts.is_listed.or_ask(Question::IsListed)? == Some(false) {
        return borrowed(facts);
    }
    Ok(Verdict::Own)
}

fn another_process(facts: &Facts) -> Result<Verdict, Question> {
    if facts.is_sure {
        return borrowed(facts);
    }
    match facts.shares_memory.or_ask(Question::SharesMemory)? {
        Some(true) => borrowed(facts),
        Some(false) => Ok(Verdict::Abandoned),
        None if facts.owner_exists.or_ask(Question::OwnerExists)? == Some(false) => Ok(Verdict::Abandoned),
        None => borrowed(facts),
    }
}

fn borrowed(facts: &Facts) -> Result<Verdict, Question> {
    let note = facts.note;
    let shares_table = match (note.table_is_shared, note.table_is_copied) {
        // All children of this thread are alike.
        (true, false) => true,
        (false, true) => false,
        (is_noted, _) => facts.shares_table.or_ask(Question::SharesTable)?.unwrap_or(is_noted),
    };
    Ok(Verdict::Borrowed { shares_table })
}

#[cfg(test)]
mod tests {
    use super::Fact::{Known, Refused};
    use super::{Fact, Facts, Note, Owner, Question, Verdict, decide};

    const COPY: Verdict = Verdict::Borrowed { shares_table: false };
    const SAME: Verdict = Verdict::Borrowed { shares_table: true };

    const NONE: Note = Note { is_set: false, lender_is_listed: false, table_is_shared: false, table_is_copied: false };
    const VFORK: Note = Note { is_set: true, lender_is_listed: true, table_is_copied: true, ..NONE };
    const FILES: Note = Note { is_set: true, lender_is_listed: true, table_is_shared: true, ..NONE };
    const BOTH: Note = Note { table_is_copied: true, ..FILES };
    const RAW_THREAD: Note = Note { lender_is_listed: false, ..VFORK };

    /// Every answer is refused unless a row says otherwise.
    const BASE: Facts = Facts {
        owner: Owner::Pid(100),
        is_sure: true,
        note: NONE,
        pid: Refused,
        is_listed: Refused,
        is_thread_of_owner: Refused,
        shares_memory: Refused,
        owner_exists: Refused,
        shares_table: Refused,
    };

    #[test]
    fn the_facts_decide_whose_memory_it_is() {
        let unsure = Facts { is_sure: false, ..BASE };
        let rows = [
            ("a fork", Facts { owner: Owner::Nobody, ..BASE }, Verdict::Fresh),
            ("a fork where getpid gives 0", Facts { owner: Owner::Nobody, pid: Refused, ..BASE }, Verdict::Fresh),
            (
                "a fork of a thread that has a note of its own",
                Facts { owner: Owner::Nobody, note: VFORK, pid: Known(7), ..BASE },
                Verdict::Fresh,
            ),
            ("the owner", Facts { pid: Known(100), ..BASE }, Verdict::Own),
            (
                "the owner after vfork returned",
                Facts { pid: Known(100), note: VFORK, is_listed: Known(true), ..BASE },
                Verdict::Own,
            ),
            ("a vfork child", Facts { pid: Known(101), note: VFORK, is_thread_of_owner: Known(false), ..BASE }, COPY),
            (
                "a vfork child in a new pid namespace, where no pid names the owner",
                Facts { pid: Known(1), note: VFORK, is_thread_of_owner: Known(false), ..BASE },
                COPY,
            ),
            (
                "the same by inline system call",
                Facts { pid: Known(1), is_thread_of_owner: Known(false), owner_exists: Known(false), ..BASE },
                COPY,
            ),
            (
                "pid 1 lends to pid 1",
                Facts { owner: Owner::Pid(1), pid: Known(1), note: VFORK, is_listed: Known(false), ..BASE },
                COPY,
            ),
            (
                "pid 1 lends to pid 1, with the same table",
                Facts { owner: Owner::Pid(1), pid: Known(1), note: FILES, is_listed: Known(false), ..BASE },
                SAME,
            ),
            (
                "pid 1 after its child pid 1",
                Facts { owner: Owner::Pid(1), pid: Known(1), note: VFORK, is_listed: Known(true), ..BASE },
                Verdict::Own,
            ),
            (
                "a thread without a robust list, after its child",
                Facts { pid: Known(100), note: RAW_THREAD, is_listed: Known(false), ..BASE },
                Verdict::Own,
            ),
            ("getpid refused", Facts { is_thread_of_owner: Known(true), ..BASE }, Verdict::Own),
            ("getpid refused, in a vfork child", Facts { is_thread_of_owner: Known(false), note: VFORK, ..BASE }, COPY),
            (
                "getpid and gettid refused, in a vfork child",
                Facts { is_listed: Known(false), note: VFORK, ..BASE },
                COPY,
            ),
            (
                "getpid and gettid refused, after vfork",
                Facts { is_listed: Known(true), note: VFORK, ..BASE },
                Verdict::Own,
            ),
            ("all refused", Facts { note: NONE, ..BASE }, Verdict::Own),
            (
                "getpid lies since a filter was installed",
                Facts { pid: Known(42), is_thread_of_owner: Known(true), ..BASE },
                Verdict::Own,
            ),
            ("an owner that has no pid", Facts { owner: Owner::Unnamed, pid: Known(5), ..BASE }, Verdict::Own),
            ("its vfork child", Facts { owner: Owner::Unnamed, note: VFORK, is_listed: Known(false), ..BASE }, COPY),
            (
                "a child by inline system call, same table",
                Facts { pid: Known(101), is_thread_of_owner: Known(false), shares_table: Known(true), ..BASE },
                SAME,
            ),
            (
                "one of two kinds of children",
                Facts {
                    pid: Known(101),
                    is_thread_of_owner: Known(false),
                    note: BOTH,
                    shares_table: Known(false),
                    ..BASE
                },
                COPY,
            ),
            (
                "the same where kcmp is refused",
                Facts { pid: Known(101), is_thread_of_owner: Known(false), note: BOTH, ..BASE },
                SAME,
            ),
            (
                "the owner behind a vfork child that claimed first and is gone",
                Facts { pid: Known(101), is_thread_of_owner: Known(false), owner_exists: Known(false), ..unsure },
                Verdict::Abandoned,
            ),
            (
                "the same where its pid was given again",
                Facts { pid: Known(101), is_thread_of_owner: Known(false), shares_memory: Known(false), ..unsure },
                Verdict::Abandoned,
            ),
            (
                "the same while it lives",
                Facts { pid: Known(101), is_thread_of_owner: Known(false), shares_memory: Known(true), ..unsure },
                COPY,
            ),
            (
                "the same where nothing is known of it",
                Facts { pid: Known(101), is_thread_of_owner: Known(false), ..unsure },
                COPY,
            ),
        ];
        for (name, facts, expected) in rows {
            assert_eq!(decide(&facts), Ok(expected), "{name}");
        }
    }

    #[test]
    fn no_question_is_asked_twice_for_any_answers() {
        let notes = [NONE, VFORK, FILES, BOTH, RAW_THREAD];
        // Three answers to each of five questions, and three to the pid.
        for answers in 0..3usize.pow(6) {
            let answer = |place: u32| [Refused, Known(false), Known(true)][answers / 3usize.pow(place) % 3];
            let pid = [Refused, Known(100), Known(1)][answers % 3];
            for (note, owner, is_sure) in notes.iter().flat_map(|note| {
                [Owner::Nobody, Owner::Unnamed, Owner::Pid(100)]
                    .into_iter()
                    .flat_map(move |owner| [(*note, owner, true), (*note, owner, false)])
            }) {
                let not_asked = Fact::NotAsked;
                let mut facts = Facts {
                    owner,
                    is_sure,
                    note,
                    pid: Fact::NotAsked,
                    is_listed: not_asked,
                    is_thread_of_owner: not_asked,
                    shares_memory: not_asked,
                    owner_exists: not_asked,
                    shares_table: not_asked,
                };
                let mut asked = std::collections::BTreeSet::new();
                while let Err(question) = decide(&facts) {
                    assert!(asked.insert(question as u8), "{question:?} twice: {facts:?}");
                    match question {
                        Question::Pid => facts.pid = pid,
                        Question::IsListed => facts.is_listed = answer(1),
                        Question::IsThreadOfOwner => facts.is_thread_of_owner = answer(2),
                        Question::SharesMemory => facts.shares_memory = answer(3),
                        Question::OwnerExists => facts.owner_exists = answer(4),
                        Question::SharesTable => facts.shares_table = answer(5),
                    }
                }
                assert!(asked.len() <= Question::COUNT);
            }
        }
    }
}
