//! How several that want something share it by weight.

/// Divides what there is among some by their weights, one at a time, so that
/// each gets its portion also where there is only one to give now and then.
/// Who wants nothing now gives way, and is owed nothing for it.
#[derive(Clone, Debug)]
pub(crate) struct Portions {
    weights: Vec<f64>,
    /// What each is owed, of the time when it wanted something.
    owed: Vec<f64>,
}

/// The most that anybody is owed, or owes: what waited for longer is water
/// under the bridge.
const MOST_OWED: f64 = 64.0;
/// So many are divided one by one, the others by proportion.
const ONE_BY_ONE: usize = 64;

impl Portions {
    pub(crate) fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Vec<f64> = weights.into_iter().map(|it| f64::from(it.max(1))).collect();
        Self {
            owed: vec![0.0; weights.len()],
            weights,
        }
    }

    /// Whose turn it is, of those who want something.
    pub(crate) fn next(&mut self, wants: &[bool]) -> Option<usize> {
        let all = self.all(wants);
        let due = |who: usize| self.owed[who] + self.weights[who] / all;
        let next = (0..wants.len())
            .filter(|who| wants[*who])
            // Of equals the first.
            .rev()
            .max_by(|one, other| due(*one).total_cmp(&due(*other)))?;
        self.took(next, wants);
        Some(next)
    }

    /// Notes that one of those who want something got it.
    pub(crate) fn took(&mut self, who: usize, wants: &[bool]) {
        let all = self.all(wants);
        if all == 0.0 {
            return;
        }
        for (place, owed) in self.owed.iter_mut().enumerate() {
            if wants[place] {
                *owed += self.weights[place] / all;
            }
            if place == who {
                *owed -= 1.0;
            }
            *owed = owed.clamp(-MOST_OWED, MOST_OWED);
        }
    }

    /// Divides this much among those who want something.
    pub(crate) fn divide(&self, room: usize, wants: &[bool]) -> Vec<usize> {
        let mut shares = vec![0; wants.len()];
        let all = self.all(wants);
        if all == 0.0 {
            return shares;
        }
        let rest = room.saturating_sub(ONE_BY_ONE);
        let mut turns = self.clone();
        let mut given = 0;
        for (place, share) in shares.iter_mut().enumerate() {
            if wants[place] {
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a small, non-negative number"
                )]
                let part = (rest as f64 * self.weights[place] / all) as usize;
                *share = part;
                given += part;
            }
        }
        for _ in given..room {
            if let Some(who) = turns.next(wants) {
                shares[who] += 1;
            }
        }
        shares
    }

    fn all(&self, wants: &[bool]) -> f64 {
        let wanting = self.weights.iter().zip(wants).filter(|(_, wants)| **wants);
        wanting.map(|(weight, _)| weight).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_at_a_time_comes_to_the_weights_and_evenly() {
        let mut portions = Portions::new([3, 1]);
        let turns: Vec<usize> = (0..8).map(|_| portions.next(&[true; 2]).unwrap()).collect();
        assert_eq!(turns, [0, 0, 1, 0, 0, 0, 1, 0]);
        assert_eq!(portions.next(&[false, true]), Some(1));
        assert_eq!(portions.next(&[false; 2]), None);
        assert_eq!(Portions::new([3, 1]).divide(8, &[true; 2]), [6, 2]);
        assert_eq!(Portions::new([3, 1]).divide(2000, &[true; 2]), [1500, 500]);
        assert_eq!(Portions::new([3, 1]).divide(5, &[false, true]), [0, 5]);
    }

    proptest! {
        /// Whoever wants something all the time gets its portion, whatever
        /// the others do, and never waits for more than a round.
        #[test]
        fn nobody_who_wants_something_goes_without(
            weights in prop::collection::vec(1u32..20, 2..6),
            idle in prop::collection::vec(any::<bool>(), 6..200),
        ) {
            let mut portions = Portions::new(weights.clone());
            let all: u32 = weights.iter().sum();
            let mut waited = 0;
            for idle in idle {
                // The first wants something always, the others now and then.
                let mut wants = vec![!idle; weights.len()];
                wants[0] = true;
                match portions.next(&wants) {
                    Some(0) => waited = 0,
                    _ => waited += 1,
                }
                let round = f64::from(all) / f64::from(weights[0]);
                prop_assert!(f64::from(waited) <= 2.0 * round + weights.len() as f64);
            }
        }

        #[test]
        fn all_of_the_room_is_divided(
            weights in prop::collection::vec(1u32..20, 1..6), room in 0usize..3000,
        ) {
            let portions = Portions::new(weights.clone());
            let shares = portions.divide(room, &vec![true; weights.len()]);
            prop_assert_eq!(shares.iter().sum::<usize>(), room);
        }
    }
}
