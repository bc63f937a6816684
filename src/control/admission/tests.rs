//! Sidecars that come back all at once, and obey.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const MS: u64 = 1000;
const SECOND: u64 = 1000 * MS;
/// Histograms count in slots of 100 ms.
const SLOT: u64 = 100 * MS;

fn admission(settings: Settings) -> Admission {
    Admission::new(settings, Rng::seeded(3))
}

#[test]
fn a_burst_then_the_rate() {
    let mut admission = admission(Settings { at_once: 1000, ..Settings::default() });
    let mut begun = |now_us| {
        let mut count = 0;
        while let Ok(ticket) = admission.try_admit(now_us) {
            drop(ticket);
            count += 1;
        }
        count
    };
    assert_eq!(begun(5 * SECOND), 400);
    assert_eq!(begun(5 * SECOND + 4 * MS), 0);
    assert_eq!(begun(5 * SECOND + 5 * MS), 1);
    assert_eq!(begun(6 * SECOND), 199);
    assert_eq!(begun(100 * SECOND), 400);
}

#[test]
fn a_place_is_free_when_its_ticket_is_dropped() {
    let mut admission = admission(Settings { at_once: 2, ..Settings::default() });
    let first = admission.try_admit(0).expect("free");
    let second = admission.try_admit(0).expect("free");
    assert!(admission.try_admit(0).is_err());
    drop(first);
    let third = admission.try_admit(0).expect("free again");
    assert!(admission.try_admit(0).is_err());
    drop((second, third));
    assert!(admission.try_admit(0).is_ok());
}

#[test]
fn the_wait_grows_with_those_who_wait_and_has_an_end() {
    let longest = Duration::from_secs(10);
    let settings = Settings { burst: 1, longest, ..Settings::default() };
    let mut admission = admission(settings);
    let _ticket = admission.try_admit(0).expect("free");
    let waits: Vec<_> = (0..10_000).filter_map(|_| admission.try_admit(0).err()).collect();
    assert_eq!(waits.len(), 10_000);
    for (n, wait) in waits.iter().enumerate().take(1998) {
        // The bucket has the next one's place after 5 ms, and each after that 5 ms later.
        let least = Duration::from_millis(5 * (n as u64 + 2));
        assert!((least..least + Duration::from_millis(100)).contains(wait), "{n}: {wait:?}");
    }
    let rest = &waits[2000..];
    assert!(rest.iter().all(|wait| (longest..longest * 3 / 2).contains(wait)));
    let late = rest.iter().filter(|wait| **wait > longest * 5 / 4).count();
    assert!((3_000..5_000).contains(&late), "{late} of 8,000 in the second half");
    // A quiet time later nothing of it is left.
    let _ticket = admission.try_admit(20 * SECOND).expect("free");
    let wait = admission.try_admit(20 * SECOND).expect_err("one a burst");
    assert!(wait < Duration::from_millis(120), "{wait:?}");
}

/// What happens in a simulation, by time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives { tries: u32 },
    Stands,
}

/// Admissions by slot, and how often the unluckiest had to come.
struct Course {
    slots: Vec<usize>,
    most_tries: u32,
    refused: usize,
    last_us: u64,
}

/// Sidecars arrive, are set up in `setup_us`, or come back when they were told, plus up to 20 ms
/// for the network.
fn simulate(settings: Settings, arrivals: impl Iterator<Item = u64>, setup_us: u64) -> Course {
    let (mut admission, mut rng) = (admission(settings), Rng::seeded(8));
    let mut events: BinaryHeap<_> =
        arrivals.map(|at| Reverse((at, Event::Arrives { tries: 1 }))).collect();
    let mut tickets = std::collections::VecDeque::new();
    let mut course = Course { slots: Vec::new(), most_tries: 0, refused: 0, last_us: 0 };
    while let Some(Reverse((now, event))) = events.pop() {
        let Event::Arrives { tries } = event else {
            tickets.pop_front();
            continue;
        };
        course.most_tries = course.most_tries.max(tries);
        match admission.try_admit(now) {
            Ok(ticket) => {
                tickets.push_back(ticket);
                events.push(Reverse((now + setup_us, Event::Stands)));
                let slot = (now / SLOT) as usize;
                course.slots.resize(course.slots.len().max(slot + 1), 0);
                course.slots[slot] += 1;
                course.last_us = now;
            }
            Err(wait) => {
                course.refused += 1;
                let back = now + as_us(wait) + rng.below(20_000) as u64;
                events.push(Reverse((back, Event::Arrives { tries: tries + 1 })));
            }
        }
    }
    course
}

impl Course {
    fn print(&self, title: &str) {
        let Self { most_tries, refused, .. } = self;
        let last_ms = self.last_us / MS;
        println!("{title}: last at {last_ms} ms, at most {most_tries} tries, {refused} refused");
        for (second, slots) in self.slots.chunks(10).enumerate() {
            let sum: usize = slots.iter().sum();
            println!("{second:4} s {sum:4} {slots:3?}");
        }
    }

    /// In every stretch of slots, no more than the bucket gives.
    fn assert_within(&self, settings: Settings) {
        let rate = settings.per_second as usize;
        for from in 0..self.slots.len() {
            let mut sum = 0;
            for (n, count) in self.slots[from..].iter().enumerate() {
                sum += count;
                let allowed = settings.burst as usize + rate * (n + 1) / 10 + 1;
                assert!(sum <= allowed, "{sum} of {allowed} in {} slots from {from}", n + 1);
            }
        }
    }
}

/// When sidecars come for the first time.
type Arrivals = Box<dyn Iterator<Item = u64>>;

fn within(span_us: u64, count: usize) -> impl Iterator<Item = u64> {
    let mut rng = Rng::seeded(1);
    (0..count).map(move |_| rng.below(span_us as usize) as u64)
}

#[test]
fn five_thousand_come_back_as_they_are_let_in() {
    let settings = Settings::default();
    let course = simulate(settings, within(SECOND, 5_000), 20 * MS);
    course.print("5,000 at once");
    assert_eq!(course.slots.iter().sum::<usize>(), 5_000);
    course.assert_within(settings);
    // Nobody could let the last in before (5,000 - 400) / 200 = 23 s.
    assert!(course.last_us < 25 * SECOND, "{} us", course.last_us);
    assert!(course.most_tries <= 4, "{} tries", course.most_tries);
    // After the burst they come evenly, as the rate has it.
    let even = &course.slots[30..220];
    assert!(even.iter().all(|count| (5..=35).contains(count)), "{even:?}");
}

/// Each within twice what the best order would take.
#[test]
fn also_when_the_world_is_less_kind() {
    let settings = Settings::default();
    let begin = || within(SECOND, 5_000);
    let cases: [(&str, Settings, Arrivals, u64, u64); 4] = [
        // 64 places of a second each let 64 in a second.
        ("setting up takes a second", settings, Box::new(begin()), SECOND, 5_000 / 64),
        // Those take 50 of the 200 a second.
        (
            "others come meanwhile",
            settings,
            Box::new(begin().chain(within(30 * SECOND, 1_500))),
            20 * MS,
            4_600 / 150,
        ),
        (
            "the longest wait is too short for all",
            Settings { longest: Duration::from_secs(5), ..settings },
            Box::new(begin()),
            20 * MS,
            4_600 / 200,
        ),
        (
            "no burst to speak of",
            Settings { burst: 10, ..settings },
            Box::new(begin()),
            20 * MS,
            5_000 / 200,
        ),
    ];
    for (title, settings, arrivals, setup_us, best) in cases {
        let course = simulate(settings, arrivals, setup_us);
        course.print(title);
        course.assert_within(settings);
        assert!(course.last_us < 2 * best * SECOND, "{title}: {} us", course.last_us);
    }
}

/// To refuse somebody takes a handshake: of the time that is short already.
#[test]
fn where_sessions_take_long_to_set_up_few_come_in_vain() {
    let course = simulate(Settings::default(), within(SECOND, 5_000), SECOND);
    course.print("5,000, each set up within a second");
    assert!(course.refused < 2 * 5_000, "{} refused", course.refused);
    assert!(course.most_tries < 10, "{} tries", course.most_tries);
}

/// Whoever does not wait gains nothing for all of them, and takes from nobody what was promised.
#[test]
fn those_who_come_early_do_not_push_the_bucket_over() {
    let settings = Settings { burst: 20, ..Settings::default() };
    let mut admission = admission(settings);
    let hasty = (0..10_000).filter(|ms| admission.try_admit(ms * MS).is_ok()).count();
    assert!((2_000..=2_020).contains(&hasty), "{hasty} in ten seconds");
}
