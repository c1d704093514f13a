//! The file: its header, its directory, and segments that are reserved before they are touched.

use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use epollshim_format::recording::{DIRECTORY, FIRST_SEGMENT, MACHINE, MAGIC, PAGE, SEGMENTS, VERSION, entry, header};

use crate::path::Path;
use crate::policy::rules;
use crate::{aside, clock, init, process, procfs, sys};

/// This process's recording. In the page that the kernel wipes at fork: all-zero is a process that has none yet.
#[repr(C)]
pub struct State {
    /// [`BEGINNING`], [`ON`], [`OFF`]; 0: not begun.
    phase: AtomicU32,
    /// One segment is made at a time.
    making: AtomicU32,
    /// How many segments the directory has.
    segments: AtomicU32,
    /// The errno of the first reservation that failed.
    pub trouble: AtomicU32,
    /// Where the file ends.
    end: AtomicU64,
    /// Header and directory. Release when they are whole, Acquire by readers.
    start: AtomicPtr<u8>,
    /// The totals, under the ledger's gate.
    pub totals: AtomicPtr<u8>,
    /// The ledger's changes go into the tables. Under its gate; readers beside it see it late at worst.
    pub has_tables: AtomicU32,
    /// Where the parts of the arena of stacks lie; null: nowhere yet.
    pub stacks: [AtomicPtr<u8>; crate::stacks::PARTS],
}

const BEGINNING: u32 = 1;
const ON: u32 = 2;
const OFF: u32 = 3;

/// A word of a mapped file.
///
/// # Safety
/// `start + place` must be an aligned word of a mapping that lasts.
pub unsafe fn word<'a>(start: *mut u8, place: usize) -> &'a AtomicU64 {
    // SAFETY: by this function's contract.
    unsafe { &*start.wrapping_add(place).cast::<AtomicU64>() }
}

impl State {
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.phase.load(Ordering::Acquire) == ON
    }

    /// Makes the file. True: this call has made it.
    pub fn begin(&self) -> bool {
        if self.phase.compare_exchange(0, BEGINNING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another thread is at it, for some hundred microseconds. (This one, in a handler: its calls are not told.)
            for _ in 0..2000 {
                if self.phase.load(Ordering::Acquire) != BEGINNING {
                    break;
                }
                sys::sleep(100_000);
            }
            return false;
        }
        // Aside: this may be a handler's small stack, and whoever jumps out of it must not leave a descriptor open.
        let made = aside::undisturbed(|| self.make()).unwrap_or(Err(libc::ENOMEM));
        let phase = match made {
            Ok(()) => ON,
            Err(error) => {
                self.note_trouble(error);
                OFF
            }
        };
        // Release: who finds it on finds header and directory.
        self.phase.store(phase, Ordering::Release);
        phase == ON
    }

    fn make(&self) -> sys::Result<()> {
        let path = path().ok_or(libc::ENAMETOOLONG)?;
        let name = path.as_c().ok_or(libc::ENAMETOOLONG)?;
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let fd = procfs::with_room(|| sys::open(name, flags, 0o600))?;
        let mapped = sys::allocate(fd, 0, FIRST_SEGMENT).and_then(|()| sys::map_part(fd, 0, FIRST_SEGMENT, None));
        sys::close(fd);
        let start = mapped?;
        write_header(start);
        self.end.store(FIRST_SEGMENT as u64, Ordering::Relaxed);
        self.segments.store(0, Ordering::Relaxed);
        self.start.store(start, Ordering::Release);
        Ok(())
    }

    /// Reserves a segment at the end of the file and maps it: at `fixed`, in place of what is there, or anywhere. `fill` is
    /// called before the directory tells of it. None: no space; nothing is mapped.
    pub fn segment(
        &self,
        kind: u64,
        bytes: usize,
        extra: u64,
        fixed: Option<*mut u8>,
        fill: impl FnOnce(*mut u8),
    ) -> Option<*mut u8> {
        let directory = self.start.load(Ordering::Acquire);
        if directory.is_null() {
            return None;
        }
        let made = aside::undisturbed(|| {
            // Acquire and Release: one segment is in the directory before the next is made.
            // Its maker may wait for a processor, or for a slow disk: two seconds at most, once in a thread's life.
            let is_free = (0..20_000).any(|_| {
                let is_free = self.making.swap(1, Ordering::Acquire) == 0;
                if !is_free {
                    sys::sleep(100_000);
                }
                is_free
            });
            if !is_free {
                return Err(libc::EBUSY);
            }
            let made = self.segment_alone(directory, kind, bytes, extra, fixed, fill);
            self.making.store(0, Ordering::Release);
            made
        });
        made.unwrap_or(Err(libc::ENOMEM)).map_err(|error| self.note_trouble(error)).ok()
    }

    fn segment_alone(
        &self,
        directory: *mut u8,
        kind: u64,
        bytes: usize,
        extra: u64,
        fixed: Option<*mut u8>,
        fill: impl FnOnce(*mut u8),
    ) -> sys::Result<*mut u8> {
        let index = self.segments.load(Ordering::Relaxed) as usize;
        if index >= SEGMENTS {
            return Err(libc::ENOSPC);
        }
        let at = self.end.load(Ordering::Relaxed);
        let length = bytes.next_multiple_of(PAGE);
        let path = path().ok_or(libc::ENAMETOOLONG)?;
        let name = path.as_c().ok_or(libc::ENAMETOOLONG)?;
        let fd = procfs::with_room(|| sys::open(name, libc::O_RDWR | libc::O_NOFOLLOW, 0))?;
        let mapped =
            sys::allocate(fd, at as usize, length).and_then(|()| sys::map_part(fd, at as usize, length, fixed));
        sys::close(fd);
        let start = mapped?;
        fill(start);
        self.end.store(at + length as u64, Ordering::Relaxed);
        self.segments.store(index as u32 + 1, Ordering::Relaxed);
        let place = DIRECTORY + index * entry::SIZE;
        // SAFETY: within the directory, which is mapped for good.
        let set = |field, value, order| unsafe { word(directory, place + field).store(value, order) };
        set(entry::START, at, Ordering::Relaxed);
        set(entry::LENGTH, length as u64, Ordering::Relaxed);
        set(entry::EXTRA, extra, Ordering::Relaxed);
        // Release: the kind last, so that who finds it finds the segment.
        set(entry::KIND, kind, Ordering::Release);
        Ok(start)
    }

    fn note_trouble(&self, error: i32) {
        let _ = self.trouble.compare_exchange(0, error as u32, Ordering::Relaxed, Ordering::Relaxed);
        self.add(header::TROUBLE, 0);
        if let Some(header) = self.header(header::TROUBLE) {
            let _ = header.compare_exchange(0, error as u64, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn header(&self, place: usize) -> Option<&'static AtomicU64> {
        let start = self.start.load(Ordering::Acquire);
        // SAFETY: places in the header are aligned, and the header is mapped for good.
        (!start.is_null()).then(|| unsafe { word(start, place) })
    }

    /// Adds to a count in the header.
    pub fn add(&self, place: usize, amount: u64) {
        if let Some(word) = self.header(place) {
            word.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub fn ended(&self, how: u64) {
        if let (Some(end), Some(ended)) = (self.header(header::END), self.header(header::ENDED)) {
            end.store(how, Ordering::Relaxed);
            ended.store(clock::monotonic(), Ordering::Relaxed);
        }
    }
}

/// The name of this process's file.
fn path() -> Option<Path> {
    let directory = init::config()?.record?;
    let mut path = Path::new();
    path.push(directory.to_bytes());
    let _ = write!(path, "/epollshim.{}.{}.rec", process::pid(), process::began_unix());
    Some(path)
}

fn write_header(start: *mut u8) {
    // SAFETY: places in the header are aligned, and it was mapped just now.
    let set = |place, value| unsafe { word(start, place).store(value, Ordering::Relaxed) };
    set(header::VERSION, VERSION);
    set(header::MACHINE, MACHINE);
    set(header::PID, process::pid() as u64);
    set(header::PPID, sys::getppid() as u64);
    set(header::BEGAN, process::began());
    set(header::BEGAN_UNIX, process::began_unix());
    if let Some(seed) = rules::the_seed() {
        set(header::SEED, seed);
        set(header::HAS_SEED, 1);
    }
    set(header::RING, super::threads::ring_length() as u64);
    let text = |place: usize, bytes: &[u8]| {
        // SAFETY: within the header; nobody else knows it yet.
        unsafe { start.wrapping_add(place).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    };
    let mut space = [0u8; header::ARGUMENTS_BYTES];
    if let Some(length) = procfs::read_short(c"/proc/self/comm", &mut space) {
        let comm = space.get(..length.min(16)).unwrap_or_default();
        text(header::COMM, comm.strip_suffix(b"\n").unwrap_or(comm));
    }
    let mut exe = [0u8; header::EXE_BYTES];
    if let Some(exe) = procfs::read_link(c"/proc/self/exe", &mut exe) {
        text(header::EXE, exe);
        set(header::EXE_LENGTH, exe.len() as u64);
    }
    if let Some(length) = procfs::read_short(c"/proc/self/cmdline", &mut space) {
        text(header::ARGUMENTS, space.get(..length).unwrap_or_default());
        set(header::ARGUMENTS_LENGTH, length as u64);
    }
    // Last: a file without it is none.
    // SAFETY: as above.
    unsafe { word(start, header::MAGIC).store(MAGIC, Ordering::Release) };
}

/// Whether a directory can take recordings, as far as can be seen: made (0700) if it is not there.
pub fn prepare_directory(directory: &CStr) -> sys::Result<()> {
    match sys::make_directory(directory, 0o700) {
        Ok(()) | Err(libc::EEXIST) => {}
        Err(error) => return Err(error),
    }
    let fd = sys::open(directory, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    sys::close(fd);
    sys::may_write(directory)
}
