//! Interrupts threads by timers of their own CPU time, and copies their stacks in the signal.
//!
//! One at a time in a process. The handler stays installed when sampling is over, where it does
//! nothing, because a signal may still be on its way.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::fs;
use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::ProfileError;

/// CPU time between two samples of a thread: not a multiple of what programs do by the clock.
pub const PERIOD: Duration = Duration::from_nanos(10_101_010);

/// Of a stack so much is copied, from its top.
const STACK: usize = 32 << 10;
/// Samples that wait to be read: some threads' worth of a pause, and as many again.
const SLOTS: usize = 64;

const EMPTY: u8 = 0;
const WRITING: u8 = 1;
const FULL: u8 = 2;

/// Where a thread was.
pub struct Sample {
    pub thread: i32,
    pub registers: Registers,
    length: usize,
    stack: [u8; STACK],
}

/// Those that unwinding begins with.
#[derive(Clone, Copy, Default)]
pub struct Registers {
    pub pc: u64,
    pub sp: u64,
    /// The frame pointer.
    pub fp: u64,
    /// The link register; 0 where there is none.
    pub lr: u64,
}

struct Slot {
    state: AtomicU8,
    sample: UnsafeCell<Sample>,
}

struct Ring {
    slots: Box<[Slot]>,
    /// Memory that may be read as a stack: begin and end of each mapping.
    stacks: Box<[(usize, usize)]>,
    lost: AtomicU64,
}

// SAFETY: a slot's sample is touched by the one handler that made it WRITING, or, while it is FULL,
// by the one reader.
unsafe impl Sync for Ring {}

static IS_TAKEN: AtomicBool = AtomicBool::new(false);
/// Null: nothing is sampled.
static RING: AtomicPtr<Ring> = AtomicPtr::new(ptr::null_mut());
/// Handlers that may be looking at the ring.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// Sampling, until it is dropped.
pub struct Sampler {
    ring: *mut Ring,
    /// By the thread's id.
    timers: HashMap<i32, Timer>,
}

// SAFETY: the ring is shared through atomics alone; the pointer is owned.
unsafe impl Send for Sampler {}

struct Timer(libc::timer_t);

impl Sample {
    /// Eight bytes of the stack.
    pub fn word(&self, address: u64) -> Option<u64> {
        let from = usize::try_from(address.checked_sub(self.registers.sp)?).ok()?;
        let bytes = self.stack[..self.length].get(from..from.checked_add(8)?)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }
}

impl Sampler {
    /// # Errors
    /// Another one samples, or the system won't have it.
    pub fn begin() -> Result<Self, ProfileError> {
        if IS_TAKEN.swap(true, Ordering::SeqCst) {
            return Err(ProfileError::Busy);
        }
        let made = stacks().and_then(|stacks| install().map(|()| stacks));
        let stacks = made.inspect_err(|_| IS_TAKEN.store(false, Ordering::SeqCst))?;
        let slots = (0..SLOTS).map(|_| Slot::empty()).collect();
        let ring = Box::into_raw(Box::new(Ring { slots, stacks, lost: AtomicU64::new(0) }));
        RING.store(ring, Ordering::SeqCst);
        Ok(Self { ring, timers: HashMap::new() })
    }

    /// Samples the threads that there are now, but for the caller's.
    ///
    /// # Errors
    /// The system has no timers left.
    pub fn watch_threads(&mut self) -> io::Result<()> {
        // SAFETY: it takes nothing and can't fail.
        let own = unsafe { libc::gettid() };
        let mut there = Vec::new();
        for task in fs::read_dir("/proc/self/task")? {
            let id = task?.file_name().to_str().and_then(|id| id.parse::<i32>().ok());
            there.extend(id.filter(|id| *id != own));
        }
        self.timers.retain(|id, _| there.contains(id));
        for id in there {
            if let Entry::Vacant(place) = self.timers.entry(id) {
                match Timer::start(id) {
                    Ok(timer) => {
                        place.insert(timer);
                    }
                    // It ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Reads what was sampled.
    pub fn drain(&self, mut each: impl FnMut(&Sample)) {
        for slot in &self.ring().slots {
            if slot.state.load(Ordering::Acquire) == FULL {
                // SAFETY: it is FULL, so no handler touches it until it is EMPTY again.
                each(unsafe { &*slot.sample.get() });
                slot.state.store(EMPTY, Ordering::Release);
            }
        }
    }

    /// Samples that found no slot.
    pub fn lost(&self) -> u64 {
        self.ring().lost.load(Ordering::Relaxed)
    }

    /// Of the threads that are sampled now.
    pub fn thread_names(&self) -> HashMap<i32, String> {
        let name = |id: &i32| {
            let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok()?;
            Some((*id, name.trim_end().to_owned()))
        };
        self.timers.keys().filter_map(name).collect()
    }

    fn ring(&self) -> &Ring {
        // SAFETY: it was made in `begin` and is freed in `drop`.
        unsafe { &*self.ring }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.timers.clear();
        RING.store(ptr::null_mut(), Ordering::SeqCst);
        while INSIDE.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: it was made in `begin`; no handler has it any more, and none gets it again.
        drop(unsafe { Box::from_raw(self.ring) });
        IS_TAKEN.store(false, Ordering::SeqCst);
    }
}

impl Slot {
    fn empty() -> Self {
        let sample =
            Sample { thread: 0, registers: Registers::default(), length: 0, stack: [0; STACK] };
        Self { state: AtomicU8::new(EMPTY), sample: UnsafeCell::new(sample) }
    }
}

impl Timer {
    fn start(thread: i32) -> io::Result<Self> {
        // As `pthread_getcpuclockid` makes it: of one thread (4), what it ran (2).
        let clock = !thread << 3 | 4 | 2;
        // SAFETY: all zeros is one of its values.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGPROF;
        event.sigev_notify_thread_id = thread;
        event.sigev_value.sival_ptr = ptr::without_provenance_mut(thread as usize);
        let mut timer = ptr::null_mut();
        // SAFETY: both pointers are to live values of their types.
        if unsafe { libc::timer_create(clock, &raw mut event, &raw mut timer) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let timer = Self(timer);
        let period = libc::timespec { tv_sec: 0, tv_nsec: i64::from(PERIOD.subsec_nanos()) as _ };
        let every = libc::itimerspec { it_interval: period, it_value: period };
        // SAFETY: the timer was made above; the pointer is to a live value.
        if unsafe { libc::timer_settime(timer.0, 0, &raw const every, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(timer)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: it was made by `timer_create` and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

fn install() -> io::Result<()> {
    // SAFETY: all zeros is one of its values.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) = on_sample;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler is of the form that SA_SIGINFO asks for, and calls nothing that is not safe
    // in a signal.
    match unsafe { libc::sigaction(libc::SIGPROF, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Every mapping that is written to.
fn stacks() -> io::Result<Box<[(usize, usize)]>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let range = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (begin, end) = range.split_once('-')?;
        let range = usize::from_str_radix(begin, 16).ok().zip(usize::from_str_radix(end, 16).ok());
        range.filter(|_| rest.starts_with("rw"))
    };
    Ok(maps.lines().filter_map(range).collect())
}

/// Runs on whatever thread is interrupted, wherever it was: it may be inside the allocator.
extern "C" fn on_sample(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    let ring = RING.load(Ordering::SeqCst);
    if !ring.is_null() {
        // SAFETY: the ring is not freed while somebody is INSIDE; the system gives a handler with
        // SA_SIGINFO both pointers, and what was interrupted as a `ucontext_t`.
        unsafe { (*ring).take(&*info, &*context.cast::<libc::ucontext_t>()) };
    }
    INSIDE.fetch_sub(1, Ordering::SeqCst);
}

impl Ring {
    fn take(&self, info: &libc::siginfo_t, context: &libc::ucontext_t) {
        let free = |slot: &&Slot| {
            let (is, will) = (Ordering::Acquire, Ordering::Relaxed);
            slot.state.compare_exchange(EMPTY, WRITING, is, will).is_ok()
        };
        let Some(slot) = self.slots.iter().find(free) else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        // SAFETY: this handler made it WRITING, so that nobody else touches it.
        let sample = unsafe { &mut *slot.sample.get() };
        // SAFETY: the signal is that of a timer, which has a value.
        sample.thread = unsafe { info.si_value() }.sival_ptr.addr() as i32;
        sample.registers = registers(context);
        let sp = sample.registers.sp as usize;
        let end = self.stacks.iter().find(|(begin, end)| (*begin..*end).contains(&sp));
        sample.length = end.map_or(0, |(_, end)| (end - sp).min(STACK));
        // SAFETY: what lies between a stack's pointer and the end of its mapping is there, and this
        // thread, whose stack it is, does nothing else meanwhile.
        unsafe {
            let from: *const u8 = ptr::with_exposed_provenance(sp);
            ptr::copy_nonoverlapping(from, sample.stack.as_mut_ptr(), sample.length);
        }
        slot.state.store(FULL, Ordering::Release);
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let of = |register: i32| context.uc_mcontext.gregs[register as usize] as u64;
    Registers { pc: of(libc::REG_RIP), sp: of(libc::REG_RSP), fp: of(libc::REG_RBP), lr: 0 }
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let of = &context.uc_mcontext;
    Registers { pc: of.pc, sp: of.sp, fp: of.regs[29], lr: of.regs[30] }
}
