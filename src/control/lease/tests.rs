//! Leases over a clock that is told, and that jumps.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;

fn leases() -> Leases {
    Leases::new(Duration::from_secs(15), Duration::from_secs(1), 0)
}

/// Ticks every second from `from` on, through `to`; what ended, and when.
fn run(leases: &mut Leases, from: u64, to: u64) -> Vec<(u64, Arc<str>)> {
    let tick = |second: u64| (second, second * SECOND);
    let ended =
        |(second, now)| leases.tick(now).into_iter().map(|name| (second, name)).collect::<Vec<_>>();
    (from..=to).map(tick).flat_map(ended).collect()
}

#[test]
fn what_is_held_never_ends() {
    let mut leases = leases();
    leases.hold("a".into(), 1);
    assert!(run(&mut leases, 1, 1000).is_empty());
    assert!(leases.contains("a"));
    assert_eq!(leases.remaining("a", 1000 * SECOND), None);
}

#[test]
fn a_lease_runs_from_the_end_of_the_session() {
    let mut leases = leases();
    leases.hold("a".into(), 1);
    assert!(run(&mut leases, 1, 100).is_empty());
    assert!(leases.release("a", 1, 100 * SECOND + SECOND / 2));
    assert_eq!(leases.remaining("a", 101 * SECOND), Some(Duration::from_millis(14_500)));
    assert_eq!(run(&mut leases, 101, 200), [(116, "a".into())]);
    assert!(leases.is_empty());
}

#[test]
fn a_new_session_takes_over_and_the_old_one_has_no_say() {
    let mut leases = leases();
    leases.hold("a".into(), 1);
    leases.hold("a".into(), 2);
    assert!(!leases.release("a", 1, 0), "its late end must not start the lease");
    assert!(!leases.withdraw("a", 1));
    assert!(run(&mut leases, 1, 50).is_empty());
    assert!(leases.release("a", 2, 50 * SECOND));
    assert!(!leases.release("a", 2, 55 * SECOND), "a second end does not lengthen it");
    assert!(run(&mut leases, 51, 64).is_empty());
    leases.hold("a".into(), 3);
    assert!(run(&mut leases, 65, 200).is_empty());
}

#[test]
fn only_its_holder_withdraws_a_registration() {
    let mut leases = leases();
    leases.hold("a".into(), 1);
    assert!(!leases.withdraw("b", 1));
    assert!(leases.withdraw("a", 1));
    assert!(!leases.contains("a"));
    leases.hold("a".into(), 2);
    assert!(leases.release("a", 2, 0));
    assert!(!leases.withdraw("a", 2), "it is nobody's after its session");
    assert_eq!(run(&mut leases, 1, 100), [(15, "a".into())], "once");
}

#[test]
fn what_was_stored_begins_with_a_full_lease() {
    let mut leases = Leases::new(Duration::from_secs(15), Duration::from_secs(1), 100 * SECOND);
    leases.hold("held".into(), 1);
    for name in ["a", "b", "held"] {
        leases.restore(name.into(), 100 * SECOND);
    }
    assert!(run(&mut leases, 101, 105).is_empty());
    leases.hold("b".into(), 2);
    assert_eq!(run(&mut leases, 106, 200), [(115, "a".into())]);
    assert_eq!(leases.len(), 2);
}

#[test]
fn a_pause_ends_no_lease() {
    let mut leases = leases();
    for (name, released) in [("late", 9), ("early", 1)] {
        leases.hold(name.into(), 1);
        leases.tick(released * SECOND);
    }
    leases.release("early", 1, 9 * SECOND);
    assert!(run(&mut leases, 10, 23).is_empty());
    leases.release("late", 1, 23 * SECOND);
    // Early has a second left. An hour goes by unseen.
    let hour = 3600;
    assert!(leases.tick(hour * SECOND).is_empty(), "its messages may wait to be read");
    leases.hold("early".into(), 2);
    // Late had 15 seconds, of which the pause took two.
    assert_eq!(run(&mut leases, hour + 1, hour + 100), [(hour + 13, "late".into())]);
    assert!(leases.contains("early"));
}

#[test]
fn a_session_that_is_found_dead_after_a_pause_leaves_a_whole_lease() {
    let mut leases = leases();
    leases.hold("a".into(), 1);
    leases.tick(SECOND);
    // Read before the first tick after the pause.
    assert!(leases.release("a", 1, 5000 * SECOND));
    assert_eq!(leases.remaining("a", 5000 * SECOND), Some(Duration::from_secs(15)));
    assert_eq!(run(&mut leases, 5000, 5100), [(5015, "a".into())]);
}

#[test]
fn a_process_that_is_always_late_still_ends_leases() {
    let mut leases = leases();
    leases.hold("a".into(), 1);
    leases.release("a", 1, 0);
    let ended: Vec<_> = (1..40).map(|n| leases.tick(n * 10 * SECOND)).collect();
    let at = ended.iter().position(|ended| !ended.is_empty());
    // Two of every ten seconds count, and every other tick looks.
    assert_eq!(at, Some(7));
}

/// Ten thousand that end together cost one look each; a tick without work costs none.
#[test]
fn who_was_told_to_wait_loses_nothing_by_it() {
    let mut leases = leases();
    leases.restore("a".into(), 0);
    leases.restore("b".into(), 0);
    leases.spare(Duration::from_secs(40), 0);
    leases.spare(Duration::from_secs(30), 2 * SECOND);
    assert!(run(&mut leases, 1, 41).is_empty());
    leases.hold("a".into(), 1);
    assert_eq!(run(&mut leases, 42, 100), [(55, "b".into())]);
    assert!(leases.release("a", 1, 100 * SECOND));
    assert_eq!(run(&mut leases, 101, 200), [(115, "a".into())]);
}

#[test]
fn ten_thousand_come_and_go() {
    let mut leases = leases();
    for n in 0..10_000u64 {
        leases.hold(n.to_string().into(), n);
    }
    for n in 0..10_000u64 {
        assert!(leases.release(&n.to_string(), n, n * 100));
    }
    let mut ended = run(&mut leases, 1, 20);
    assert_eq!(ended.len(), 10_000);
    assert!(ended.iter().all(|(second, _)| (15..=16).contains(second)));
    ended.sort_by_key(|(_, name)| name.parse::<u64>().expect("a number"));
    assert_eq!(&*ended[9_999].1, "9999");
    assert!(leases.is_empty() && leases.ending.is_empty());
}

#[derive(Clone, Debug)]
enum Event {
    Hold(u8, u64),
    Release(u8, u64),
    Withdraw(u8, u64),
    Pause(u64),
    Ticks(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3u8, 0..3u64).prop_map(|(name, session)| Event::Hold(name, session)),
        (0..3u8, 0..3u64).prop_map(|(name, session)| Event::Release(name, session)),
        (0..3u8, 0..3u64).prop_map(|(name, session)| Event::Withdraw(name, session)),
        (3..1000u64).prop_map(Event::Pause),
        (1..20u64).prop_map(Event::Ticks),
    ]
}

/// The same by counting down: who holds each, and the seconds that it has left otherwise.
#[derive(Default)]
struct Model(HashMap<u8, (Option<u64>, u64)>);

impl Model {
    fn holds(&self, name: u8, session: u64) -> bool {
        self.0.get(&name).is_some_and(|state| state.0 == Some(session))
    }

    fn pass(&mut self, seconds: u64) {
        for state in self.0.values_mut().filter(|state| state.0.is_none()) {
            state.1 = state.1.saturating_sub(seconds);
        }
    }

    fn sweep(&mut self) -> Vec<String> {
        let over: Vec<u8> =
            self.0.iter().filter(|(_, of)| **of == (None, 0)).map(|(name, _)| *name).collect();
        self.0.retain(|_, state| *state != (None, 0));
        let mut over: Vec<_> = over.iter().map(u8::to_string).collect();
        over.sort();
        over
    }
}

proptest! {
    #[test]
    fn they_end_as_a_countdown_would(events in vec(event(), 1..80)) {
        let (mut leases, mut model, mut now) = (leases(), Model::default(), 0);
        let mut spared = false;
        for event in events {
            match event {
                Event::Hold(name, session) => {
                    leases.hold(name.to_string().into(), session);
                    let newer = model.0.get(&name).and_then(|(holder, _)| *holder) > Some(session);
                    if !newer {
                        model.0.insert(name, (Some(session), 0));
                    }
                }
                Event::Release(name, session) => {
                    let held = model.holds(name, session);
                    prop_assert_eq!(leases.release(&name.to_string(), session, now), held);
                    if held {
                        model.0.insert(name, (None, 15));
                    }
                }
                Event::Withdraw(name, session) => {
                    let held = model.holds(name, session);
                    prop_assert_eq!(leases.withdraw(&name.to_string(), session), held);
                    if held {
                        model.0.remove(&name);
                    }
                }
                Event::Pause(seconds) => {
                    now += seconds * SECOND;
                    model.pass(2);
                    spared = !spared;
                    let mut ended: Vec<_> =
                        leases.tick(now).iter().map(ToString::to_string).collect();
                    ended.sort();
                    prop_assert_eq!(ended, if spared { vec![] } else { model.sweep() });
                }
                Event::Ticks(seconds) => for _ in 0..seconds {
                    now += SECOND;
                    model.pass(1);
                    spared = false;
                    let mut ended: Vec<_> =
                        leases.tick(now).iter().map(ToString::to_string).collect();
                    ended.sort();
                    prop_assert_eq!(ended, model.sweep());
                }
            }
            prop_assert_eq!(leases.len(), model.0.len());
        }
    }
}
