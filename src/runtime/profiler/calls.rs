//! Which calls a sample was in, and what those functions are called.
//!
//! The tables are read from the files that the process is made of. A file that is gone, such as a
//! binary that was replaced, leaves addresses without names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, Module,
    UnwindRegsNative, Unwinder, UnwinderNative,
};
use object::elf::PF_X;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, ReadCache, SegmentFlags};

use super::sampler::{Registers, Sample};

/// Calls within one another that are told; a future polls many. Arbitrary.
const DEPTH: usize = 128;

/// Pages are of so many bytes, or of several times as many.
const PAGE: u64 = 4096;

/// What a function is called.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// As it is written in the source.
    pub plain: String,
    /// As linkers know it.
    pub linked: String,
}

/// A file that code runs from.
pub struct Image {
    pub path: String,
    /// Where its code is.
    pub range: Range<u64>,
    /// Where in the file that begins.
    pub offset: u64,
    pub build_id: String,
    /// What the process adds to the file's own addresses.
    bias: u64,
}

pub struct Calls {
    unwinder: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    images: Vec<Image>,
}

type Elf<'f> = ElfFile64<'f, object::Endianness, &'f ReadCache<File>>;

impl Calls {
    pub fn of_this_process() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mut calls =
            Self { unwinder: UnwinderNative::new(), cache: CacheNative::new(), images: Vec::new() };
        for image in maps.lines().filter_map(image) {
            calls.add(image);
        }
        calls
    }

    /// The addresses of a sample's calls, the innermost first.
    pub fn read(&mut self, sample: &Sample) -> Vec<u64> {
        let Registers { pc, sp, fp, lr } = sample.registers;
        #[cfg(target_arch = "x86_64")]
        let registers = UnwindRegsNative::new(pc, sp, fp);
        #[cfg(target_arch = "aarch64")]
        let registers = UnwindRegsNative::new(lr, sp, fp);
        let _ = lr;
        let mut word = |address| sample.word(address).ok_or(());
        let mut frames = self.unwinder.iter_frames(pc, registers, &mut self.cache, &mut word);
        let mut calls = Vec::new();
        // What can't be unwound ends there.
        while let Ok(Some(frame)) = frames.next() {
            calls.push(FrameAddress::address_for_lookup(frame));
            if calls.len() == DEPTH {
                break;
            }
        }
        calls
    }

    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// What the functions at these addresses are called.
    pub fn names(&self, addresses: impl Iterator<Item = u64>) -> BTreeMap<u64, Name> {
        let addresses: Vec<u64> = addresses.collect();
        let mut names = BTreeMap::new();
        for image in &self.images {
            let mut wanted: Vec<u64> =
                addresses.iter().copied().filter(|of| image.range.contains(of)).collect();
            wanted.sort_unstable();
            if !wanted.is_empty() {
                image.name(&wanted, &mut names);
            }
        }
        names
    }

    fn add(&mut self, mut image: Image) {
        let module = read(&image.path, |elf| {
            let bias = bias(&image, elf);
            let range = |name| {
                let section = elf.section_by_name(name)?;
                Some(section.address()..section.address() + section.size())
            };
            let data = |name| Some(elf.section_by_name(name)?.data().ok()?.to_vec());
            let sections = ExplicitModuleSectionInfo {
                base_svma: 0,
                text_svma: range(".text"),
                got_svma: range(".got"),
                eh_frame_svma: range(".eh_frame"),
                eh_frame: data(".eh_frame"),
                eh_frame_hdr_svma: range(".eh_frame_hdr"),
                eh_frame_hdr: data(".eh_frame_hdr"),
                ..Default::default()
            };
            let id = elf.build_id().ok().flatten().unwrap_or_default();
            let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
            (bias, id, Module::new(image.path.clone(), image.range.clone(), bias, sections))
        });
        if let Some((bias, build_id, module)) = module {
            self.unwinder.add_module(module);
            image = Image { bias, build_id, ..image };
        }
        self.images.push(image);
    }
}

fn read<R>(path: &str, how: impl FnOnce(&Elf<'_>) -> R) -> Option<R> {
    // The binary itself may have been replaced since it was started.
    let own = fs::read_link("/proc/self/exe").ok();
    let is_own = own.is_some_and(|own| own.as_os_str() == path);
    let file = File::open(if is_own { "/proc/self/exe" } else { path }).ok()?;
    let cache = ReadCache::new(file);
    ElfFile64::parse(&cache).ok().map(|elf| how(&elf))
}

/// What is added to the file's addresses, by the segment of code that is mapped here: from the
/// beginning of a page on, which may lie before it.
fn bias(image: &Image, elf: &Elf<'_>) -> u64 {
    let address = elf.segments().find_map(|segment| {
        let (offset, size) = segment.file_range();
        let is_code =
            matches!(segment.flags(), SegmentFlags::Elf { p_flags } if p_flags & PF_X != 0);
        let mapped = offset - offset % PAGE..offset + size;
        let within = is_code && mapped.contains(&image.offset);
        within.then(|| (segment.address() + image.offset).wrapping_sub(offset))
    });
    address.map_or(0, |address| image.range.start.wrapping_sub(address))
}

impl Image {
    /// `wanted` in ascending order.
    fn name(&self, wanted: &[u64], names: &mut BTreeMap<u64, Name>) {
        read(&self.path, |elf| {
            for symbol in elf.symbols().chain(elf.dynamic_symbols()) {
                let begin = symbol.address().wrapping_add(self.bias);
                let within = begin..begin.wrapping_add(symbol.size());
                let from = wanted.partition_point(|address| *address < within.start);
                let inside = wanted[from..].iter().take_while(|address| within.contains(address));
                let mut inside = inside.peekable();
                if let (Some(_), Ok(name)) = (inside.peek(), symbol.name()) {
                    let plain = format!("{:#}", rustc_demangle::demangle(name));
                    let name = Name { plain, linked: name.to_owned() };
                    for address in inside {
                        names.entry(*address).or_insert_with(|| name.clone());
                    }
                }
            }
        });
    }
}

/// A line of `/proc/self/maps` that code runs from.
fn image(line: &str) -> Option<Image> {
    let mut words = line.split_ascii_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let is_code = words.next()?.contains('x');
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    let path = words.nth(2).filter(|path| is_code && path.starts_with('/'))?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let range = number(begin)?..number(end)?;
    Some(Image { path: path.to_owned(), range, offset, build_id: String::new(), bias: 0 })
}
