//! Whose turn it is, decided as a pure state machine; `admission` keeps it behind a lock and tells those who wait.
//!
//! ```text
//! ask ─► a turn is free: runs · none is: waits in the line of its principal · all places are taken: displaces or is refused
//! give back ─► the free turn goes to the waiting principal with the fewest running; of several, to who has waited for it longest
//! ```
//! - Within a principal statements run in order of arrival; how many one principal has waiting delays nobody else.
//! - An eighth of the turns is kept for principals that have none: long statements of some cannot hold all of them. The process
//!   itself, and everybody while authentication is off, may take any.
//! - When all places are taken, who has fewer waiting takes the place of the newest of who has most.

use std::collections::{HashMap, VecDeque};

use super::running::Principal;

/// One turn in so many is kept for principals that have none.
const KEPT_SHARE: usize = 8;

/// Who asks; none = the process itself, or anybody.
pub(super) type Whose = Option<Principal>;

/// A statement that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ticket(u64);

/// What comes of asking for a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Runs,
    /// `displaced` has lost its place to it.
    Waits {
        ticket: Ticket,
        displaced: Option<Ticket>,
    },
    Refused,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Turns {
    free: usize,
    kept: usize,
    waiting_max: usize,
    running: HashMap<Whose, usize>,
    /// Of every principal with statements that wait; who has waited longest for a turn is in front.
    lines: VecDeque<Line>,
    tickets: u64,
}

#[derive(Debug)]
struct Line {
    whose: Whose,
    waiting: VecDeque<Ticket>,
}

impl Turns {
    pub(super) fn new(concurrent: usize, waiting_max: usize) -> Self {
        Self {
            free: concurrent,
            kept: concurrent / KEPT_SHARE,
            waiting_max,
            running: HashMap::new(),
            lines: VecDeque::new(),
            tickets: 0,
        }
    }

    pub(super) fn free(&self) -> usize {
        self.free
    }

    pub(super) fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.waiting.len()).sum()
    }

    pub(super) fn ask(&mut self, whose: &Whose) -> Asked {
        if self.may_run(whose) {
            self.take(whose);
            return Asked::Runs;
        }
        let mut displaced = None;
        if self.waiting() >= self.waiting_max {
            displaced = self.displace_for(whose);
            if displaced.is_none() {
                return Asked::Refused;
            }
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        match self.lines.iter_mut().find(|line| line.whose == *whose) {
            Some(line) => line.waiting.push_back(ticket),
            None => self.lines.push_back(Line { whose: whose.clone(), waiting: VecDeque::from([ticket]) }),
        }
        Asked::Waits { ticket, displaced }
    }

    /// A statement of `whose` has ended; who runs now.
    pub(super) fn give_back(&mut self, whose: &Whose) -> Vec<(Ticket, Whose)> {
        if let Some(count) = self.running.get_mut(whose) {
            *count -= 1;
            self.free += 1;
            if *count == 0 {
                self.running.remove(whose);
            }
        }
        let mut started = Vec::new();
        while let Some(at) = self.next_line() {
            let Some(mut line) = self.lines.remove(at) else { break };
            let Some(ticket) = line.waiting.pop_front() else { continue };
            self.take(&line.whose);
            started.push((ticket, line.whose.clone()));
            if !line.waiting.is_empty() {
                self.lines.push_back(line);
            }
        }
        started
    }

    /// Does not want to wait any more.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.lines.iter_mut().for_each(|line| line.waiting.retain(|waiting| *waiting != ticket));
        self.lines.retain(|line| !line.waiting.is_empty());
    }

    fn running_of(&self, whose: &Whose) -> usize {
        self.running.get(whose).copied().unwrap_or(0)
    }

    /// While turns are free, nobody waits who might have one.
    fn may_run(&self, whose: &Whose) -> bool {
        let kept = if whose.is_none() || self.running_of(whose) == 0 { 0 } else { self.kept };
        self.free > kept
    }

    fn take(&mut self, whose: &Whose) {
        self.free -= 1;
        *self.running.entry(whose.clone()).or_default() += 1;
    }

    /// Of several equal ones the one in front.
    fn next_line(&self) -> Option<usize> {
        let may = self.lines.iter().enumerate().filter(|(_, line)| self.may_run(&line.whose));
        may.min_by_key(|(_, line)| self.running_of(&line.whose)).map(|(at, _)| at)
    }

    /// The newest statement of the longest line, if that line stays at least as long as that of `whose` becomes.
    fn displace_for(&mut self, whose: &Whose) -> Option<Ticket> {
        let own = self.lines.iter().find(|line| line.whose == *whose).map_or(0, |line| line.waiting.len());
        let longest = self.lines.iter_mut().max_by_key(|line| line.waiting.len())?;
        match longest.waiting.len() > own + 1 {
            true => longest.waiting.pop_back(),
            false => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(user: &str) -> Whose {
        Some(Principal { user: user.to_owned(), is_external: false })
    }

    /// Lets statements of these users ask, one letter each, then gives all turns back, oldest first: the order they run in.
    /// A refused one is `-`, one that lost its place is missing.
    fn order(concurrent: usize, waiting_max: usize, users: &str) -> String {
        let mut turns = Turns::new(concurrent, waiting_max);
        let (mut ran, mut running) = (String::new(), VecDeque::new());
        for user in users.chars().map(String::from) {
            match turns.ask(&of(&user)) {
                Asked::Runs => {
                    ran.push_str(&user);
                    running.push_back(user);
                }
                Asked::Waits { .. } => {}
                Asked::Refused => ran.push('-'),
            }
        }
        while let Some(user) = running.pop_front() {
            for (_, whose) in turns.give_back(&of(&user)) {
                let user = whose.unwrap().user;
                ran.push_str(&user);
                running.push_back(user);
            }
        }
        assert_eq!((turns.free(), turns.waiting()), (concurrent, 0));
        ran
    }

    #[test]
    fn principals_take_turns() {
        for (concurrent, users, expected) in [
            (1, "aaaa", "aaaa"),
            (1, "aaaabb", "aababa"),
            (1, "aaabbbc", "aabcabb"),
            (2, "aaaaaab", "aabaaaa"),
            (2, "aaaabbcc", "aabacbac"),
        ] {
            assert_eq!(order(concurrent, 100, users), expected, "{concurrent} {users}");
        }
    }

    #[test]
    fn who_fills_all_places_makes_room() {
        // b and c take places of the newest of a; further ones of a are refused.
        assert_eq!(order(1, 3, "aaaaa"), "a-aaa");
        assert_eq!(order(1, 3, "aaaab"), "aaba");
        assert_eq!(order(1, 3, "aaaabc"), "aabc");
        assert_eq!(order(1, 3, "aaaabcd"), "a-abc", "one of each: nobody has more");
        assert_eq!(order(1, 0, "ab"), "a-");
    }

    #[test]
    fn some_turns_are_kept_for_who_has_none() {
        let mut turns = Turns::new(16, 100);
        let runs = |turns: &mut Turns, user: &str| turns.ask(&of(user)) == Asked::Runs;
        assert_eq!((0..20).filter(|_| runs(&mut turns, "a")).count(), 14);
        assert!(runs(&mut turns, "b"), "at once, though six of a wait");
        assert!(!runs(&mut turns, "b"), "a second one waits");
        assert_eq!(turns.ask(&None), Asked::Runs);
        assert_eq!(turns.free(), 0);
        assert_eq!(turns.give_back(&of("b")).len(), 1, "b has none again");
        // The turn given back is one that is kept.
        assert_eq!(turns.give_back(&None), []);
        assert!(runs(&mut turns, "c"));
        assert_eq!(turns.give_back(&of("a")), []);
        assert_eq!(turns.give_back(&of("a")), []);
        assert_eq!(turns.give_back(&of("a")).len(), 1);
    }

    #[test]
    fn who_leaves_is_not_called() {
        let mut turns = Turns::new(1, 10);
        assert_eq!(turns.ask(&of("a")), Asked::Runs);
        let Asked::Waits { ticket, .. } = turns.ask(&of("b")) else { panic!("runs") };
        turns.leave(ticket);
        assert_eq!(turns.waiting(), 0);
        assert_eq!(turns.give_back(&of("a")), []);
    }

    proptest! {
        /// Whatever comes: no more run than may, nobody waits who might run, and all run in the end.
        #[test]
        fn turns_are_neither_lost_nor_made(
            concurrent in 1_usize..20,
            steps in proptest::collection::vec((0_u8..5, any::<bool>()), 0..200),
        ) {
            let mut turns = Turns::new(concurrent, 1_000);
            let (mut running, mut waiting): (VecDeque<Whose>, usize) = (VecDeque::new(), 0);
            for (user, gives_back) in steps {
                let whose = (user > 0).then(|| of(&user.to_string())).flatten();
                match (gives_back, running.pop_front()) {
                    (true, Some(ended)) => {
                        let started = turns.give_back(&ended);
                        waiting -= started.len();
                        running.extend(started.into_iter().map(|(_, whose)| whose));
                    }
                    (_, front) => {
                        running.extend(front);
                        match turns.ask(&whose) {
                            Asked::Runs => running.push_back(whose),
                            Asked::Waits { displaced, .. } => {
                                prop_assert_eq!(displaced, None);
                                waiting += 1;
                            }
                            Asked::Refused => prop_assert!(false, "refused"),
                        }
                    }
                }
                prop_assert_eq!(turns.free() + running.len(), concurrent);
                prop_assert_eq!(turns.waiting(), waiting);
                prop_assert!(turns.next_line().is_none(), "somebody waits who might run");
            }
            while let Some(ended) = running.pop_front() {
                let started = turns.give_back(&ended);
                waiting -= started.len();
                running.extend(started.into_iter().map(|(_, whose)| whose));
            }
            prop_assert_eq!((waiting, turns.waiting(), turns.free()), (0, 0, concurrent));
        }
    }
}
