//! Who waits at a port of the control plane before anything is known of them: bounded in all, and for
//! each place that they come from.
//!
//! Strangers can open connections and say nothing, or begin and not go on. Where there are too many,
//! the one that has been silent longest makes room: first of the same place, else of the place that
//! has most. So who speaks at once gets in, and whoever fills the house turns out their own. A place
//! is an IPv4 address, or the /64 that an IPv6 host can choose its addresses from.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub all: usize,
    /// From one place.
    pub each: usize,
}

/// Everybody at one port.
pub struct Door {
    room: Room,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// How many came so far; the number of the next.
    came: u64,
    count: usize,
    places: HashMap<IpAddr, Guests>,
}

/// In the order in which they came. Who can be shown out is still silent.
type Guests = BTreeMap<u64, Option<Arc<Notify>>>;

/// One who is let in as far as the door; leaves when dropped.
pub struct Guest {
    door: Arc<Door>,
    place: IpAddr,
    number: u64,
    shown_out: Arc<Notify>,
}

impl Door {
    pub fn new(room: Room) -> Arc<Self> {
        Arc::new(Self { room, held: Mutex::default() })
    }

    /// Lets somebody stand there; `None`: there are too many who spoke.
    pub fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Guest> {
        let place = place(from);
        let mut held = self.lock();
        let here = held.places.get(&place).map_or(0, BTreeMap::len);
        if here >= self.room.each && !held.show_out(place) {
            return None;
        }
        if held.count >= self.room.all {
            let silent = |guests: &Guests| guests.values().flatten().count();
            // Of as many as there is room for, and only when there is none.
            let most = held.places.iter().max_by_key(|(_, guests)| silent(guests));
            let most = most.map(|(place, _)| *place)?;
            if !held.show_out(most) {
                return None;
            }
        }
        let shown_out = Arc::new(Notify::new());
        held.came += 1;
        held.count += 1;
        let number = held.came;
        held.places.entry(place).or_default().insert(number, Some(Arc::clone(&shown_out)));
        Some(Guest { door: Arc::clone(self), place, number, shown_out })
    }

    /// A panic under the lock is impossible short of running out of memory.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The one of a place that has been silent longest; false when all of them spoke.
    fn show_out(&mut self, place: IpAddr) -> bool {
        let guests = self.places.get(&place);
        let mut silent =
            guests.into_iter().flatten().filter_map(|(number, of)| Some((*number, of.as_ref()?)));
        let Some((number, longest)) = silent.next() else { return false };
        longest.notify_one();
        self.remove(place, number);
        true
    }

    fn remove(&mut self, place: IpAddr, number: u64) {
        let Some(guests) = self.places.get_mut(&place) else { return };
        if guests.remove(&number).is_some() {
            self.count -= 1;
        }
        if guests.is_empty() {
            self.places.remove(&place);
        }
    }
}

impl Guest {
    /// Where it comes from.
    pub fn place(&self) -> IpAddr {
        self.place
    }

    /// Ends when it must make room. Nothing is lost when this is dropped before.
    pub async fn shown_out(&self) {
        self.shown_out.notified().await;
    }

    /// It spoke, and is not shown out any more; false when it was already.
    pub fn spoke(&self) -> bool {
        let mut held = self.door.lock();
        let guest = held.places.get_mut(&self.place).and_then(|of| of.get_mut(&self.number));
        guest.map(|silent| *silent = None).is_some()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.door.lock().remove(self.place, self.number);
    }
}

fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    fn from(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    async fn stays(guest: &Guest) -> bool {
        timeout(Duration::ZERO, guest.shown_out()).await.is_err()
    }

    #[tokio::test]
    async fn whoever_fills_the_house_turns_out_their_own() {
        let door = Door::new(Room { all: 10, each: 4 });
        let quiet = door.enter(from(1)).expect("room");
        let crowd: Vec<Guest> = (0..20).map(|_| door.enter(from(2)).expect("room")).collect();
        assert!(stays(&quiet).await, "another place is not concerned");
        for (number, guest) in crowd.iter().enumerate() {
            assert_eq!(stays(guest).await, number >= 16, "{number}");
            assert_eq!(guest.spoke(), number >= 16, "{number}");
        }
        assert!(door.enter(from(2)).is_none(), "all who are left spoke");
        assert!(door.enter(from(3)).is_some_and(|guest| guest.spoke()));
        drop(crowd);
        assert!(door.enter(from(2)).is_some());
    }

    #[tokio::test]
    async fn a_full_house_makes_room_where_most_are_silent() {
        let door = Door::new(Room { all: 6, each: 4 });
        let one = door.enter(from(1)).expect("room");
        let two = [(); 2].map(|()| door.enter(from(2)).expect("room"));
        let three = [(); 3].map(|()| door.enter(from(3)).expect("room"));
        let new = door.enter(from(4)).expect("room is made");
        assert!(!stays(&three[0]).await);
        for guest in [&one, &two[0], &two[1], &three[1], &three[2], &new] {
            assert!(stays(guest).await && guest.spoke());
        }
        assert!(door.enter(from(5)).is_none(), "six who spoke");
        drop(one);
        assert!(door.enter(from(5)).is_some());
        drop((two, three, new));
        assert!(door.lock().places.is_empty() && door.lock().count == 0);
    }

    #[test]
    fn a_host_of_ipv6_is_one_place() {
        let at = |text: &str| place(text.parse().expect("an address"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:ffff:ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), from(1));
    }
}
