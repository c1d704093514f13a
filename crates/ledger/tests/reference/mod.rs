//! A plain reference model of the kernel: open file descriptions, the descriptor tables of a few
//! processes, and interest lists, after fs/file.c, fs/eventpoll.c and net/unix/garbage.c of Linux
//! 6.1. It is simple and slow.

use std::collections::{BTreeMap, BTreeSet};

/// An open file description.
pub type File = u32;

/// What the kernel answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Errno {
    Badf,
    Exist,
    Noent,
    Inval,
    Loop,
}

/// An interest: `armed` is false once a one-shot event was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    pub one_shot: bool,
    pub armed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    pub file: File,
    pub close_on_exec: bool,
}

/// Instances by description: each interest is found by a number and a description.
type Lists = BTreeMap<File, BTreeMap<(i32, File), Interest>>;

#[derive(Clone, Default, Debug)]
pub struct Kernel {
    made: File,
    /// The processes: ours is the first. Others have ended where their table is empty.
    pub tables: Vec<BTreeMap<i32, Descriptor>>,
    /// In a message that nobody has received yet.
    pub in_flight: Vec<File>,
    pub lists: Lists,
}

pub const OURS: usize = 0;
/// How deep instances may watch each other (EP_MAX_NESTS of fs/eventpoll.c).
const MOST_NESTED: usize = 4;

impl Kernel {
    pub fn new() -> Kernel {
        Kernel { tables: vec![BTreeMap::new()], ..Kernel::default() }
    }

    pub fn ours(&self) -> &BTreeMap<i32, Descriptor> {
        &self.tables[OURS]
    }

    pub fn file(&self, fd: i32) -> Option<File> {
        self.ours().get(&fd).map(|descriptor| descriptor.file)
    }

    pub fn is_instance(&self, file: File) -> bool {
        self.lists.contains_key(&file)
    }

    /// The lowest free number.
    fn free_number(&self) -> i32 {
        (3..).find(|fd| !self.ours().contains_key(fd)).unwrap()
    }

    fn install(&mut self, file: File, close_on_exec: bool) -> i32 {
        let fd = self.free_number();
        self.tables[OURS].insert(fd, Descriptor { file, close_on_exec });
        fd
    }

    pub fn open(&mut self, close_on_exec: bool) -> i32 {
        self.made += 1;
        self.install(self.made, close_on_exec)
    }

    pub fn create(&mut self, close_on_exec: bool) -> i32 {
        let fd = self.open(close_on_exec);
        self.lists.insert(self.made, BTreeMap::new());
        fd
    }

    /// Frees each description that nothing refers to any more, and removes it from every interest
    /// list.
    fn collect(&mut self) {
        let mut kept: BTreeSet<File> = self.in_flight.iter().copied().collect();
        kept.extend(self.tables.iter().flat_map(|table| table.values().map(|descriptor| descriptor.file)));
        self.lists.retain(|file, _| kept.contains(file));
        for list in self.lists.values_mut() {
            list.retain(|(_, file), _| kept.contains(file));
        }
    }

    pub fn close(&mut self, fd: i32) -> Result<(), Errno> {
        self.tables[OURS].remove(&fd).ok_or(Errno::Badf)?;
        self.collect();
        Ok(())
    }

    pub fn close_range(&mut self, first: i32, last: i32) {
        self.tables[OURS].retain(|fd, _| !(first..=last).contains(fd));
        self.collect();
    }

    pub fn dup(&mut self, old: i32) -> Result<i32, Errno> {
        let file = self.file(old).ok_or(Errno::Badf)?;
        Ok(self.install(file, false))
    }

    pub fn dup2(&mut self, old: i32, new: i32) -> Result<(), Errno> {
        let file = self.file(old).ok_or(Errno::Badf)?;
        if old != new {
            self.tables[OURS].insert(new, Descriptor { file, close_on_exec: false });
            self.collect();
        }
        Ok(())
    }

    /// The instance of `epfd`, and what `fd` refers to.
    fn pair(&self, epfd: i32, fd: i32) -> Result<(File, File), Errno> {
        let (instance, file) = (self.file(epfd).ok_or(Errno::Badf)?, self.file(fd).ok_or(Errno::Badf)?);
        if instance == file || !self.is_instance(instance) { Err(Errno::Inval) } else { Ok((instance, file)) }
    }

    pub fn add(&mut self, epfd: i32, fd: i32, one_shot: bool) -> Result<(), Errno> {
        let (instance, file) = self.pair(epfd, fd)?;
        if self.is_instance(file)
            && (self.reaches(file, instance) || self.depth(file) + self.height(instance) > MOST_NESTED)
        {
            return Err(Errno::Loop);
        }
        let list = self.lists.get_mut(&instance).unwrap();
        if list.contains_key(&(fd, file)) {
            return Err(Errno::Exist);
        }
        list.insert((fd, file), Interest { one_shot, armed: true });
        Ok(())
    }

    fn watched(&self, instance: File) -> impl Iterator<Item = File> + '_ {
        self.lists.get(&instance).into_iter().flat_map(|list| list.keys().map(|(_, file)| *file))
    }

    fn reaches(&self, from: File, to: File) -> bool {
        from == to || self.watched(from).any(|file| self.reaches(file, to))
    }

    /// How many instances lie below one, and above it.
    fn depth(&self, instance: File) -> usize {
        let below = self.watched(instance).filter(|file| self.is_instance(*file)).map(|file| self.depth(file));
        1 + below.max().unwrap_or(0)
    }

    fn height(&self, instance: File) -> usize {
        let above = self.lists.iter().filter(|(_, list)| list.keys().any(|(_, file)| *file == instance));
        1 + above.map(|(file, _)| self.height(*file)).max().unwrap_or(0)
    }

    pub fn modify(&mut self, epfd: i32, fd: i32, one_shot: bool) -> Result<(), Errno> {
        let (instance, file) = self.pair(epfd, fd)?;
        let interest = self.lists.get_mut(&instance).unwrap().get_mut(&(fd, file)).ok_or(Errno::Noent)?;
        *interest = Interest { one_shot, armed: true };
        Ok(())
    }

    pub fn delete(&mut self, epfd: i32, fd: i32) -> Result<(), Errno> {
        let (instance, file) = self.pair(epfd, fd)?;
        self.lists.get_mut(&instance).unwrap().remove(&(fd, file)).map(drop).ok_or(Errno::Noent)
    }

    /// A wait delivers the events of armed interests, and disarms one-shot ones.
    pub fn wait(&mut self, epfd: i32) -> Result<usize, Errno> {
        let instance = self.file(epfd).ok_or(Errno::Badf)?;
        let list = self.lists.get_mut(&instance).ok_or(Errno::Inval)?;
        let mut delivered = 0;
        for interest in list.values_mut().filter(|interest| interest.armed) {
            delivered += 1;
            interest.armed = !interest.one_shot;
        }
        Ok(delivered)
    }

    /// Another process with the same descriptors.
    pub fn fork(&mut self) {
        self.tables.push(self.ours().clone());
    }

    /// The process that was forked last, of those that still run, ends.
    pub fn other_ends(&mut self) {
        if self.tables.len() > 1 {
            self.tables.pop();
            self.collect();
        }
    }

    pub fn exec(&mut self) {
        self.tables[OURS].retain(|_, descriptor| !descriptor.close_on_exec);
        self.collect();
    }

    /// SCM_RIGHTS.
    pub fn send(&mut self, fd: i32) -> Result<(), Errno> {
        self.in_flight.push(self.file(fd).ok_or(Errno::Badf)?);
        Ok(())
    }

    pub fn receive(&mut self) -> Option<i32> {
        let file = self.in_flight.pop()?;
        Some(self.install(file, false))
    }

    pub fn interests(&self, file: File) -> usize {
        self.lists.get(&file).map_or(0, BTreeMap::len)
    }

    /// Instances that this process has a descriptor of, each with its numbers in order.
    pub fn own_instances(&self) -> BTreeMap<File, Vec<i32>> {
        let mut instances = BTreeMap::<File, Vec<i32>>::new();
        for (fd, descriptor) in self.ours().iter().filter(|(_, descriptor)| self.is_instance(descriptor.file)) {
            instances.entry(descriptor.file).or_default().push(*fd);
        }
        instances
    }
}
