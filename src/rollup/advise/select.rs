//! The greedy choice of views: again and again the one that saves most, given those chosen before.

/// What questions cost, in rows read.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    /// For each question: how often it is asked.
    pub asked: Vec<f64>,
    /// For each question: rows it reads now.
    pub now: Vec<f64>,
    /// For each view and each question: rows it would read from the view; None: the view does not answer it.
    pub with: Vec<Vec<Option<f64>>>,
}

/// A chosen view.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub view: usize,
    /// Rows that are no longer read, over all questions, beside those saved by views chosen before.
    pub saved: f64,
    /// Questions answered from it when all are chosen.
    pub questions: Vec<usize>,
}

/// At most `most` views, each of which saves rows, in the order of choice. Of equals the first is taken.
pub fn choose(costs: &Costs, most: usize) -> Vec<Chosen> {
    let mut now = costs.now.clone();
    let mut best: Vec<Option<usize>> = vec![None; now.len()];
    let mut chosen: Vec<Chosen> = Vec::new();
    while chosen.len() < most {
        let saved = |view: usize| saved(costs, &now, view);
        let left = (0..costs.with.len()).filter(|view| chosen.iter().all(|known| known.view != *view));
        let first = left.map(|view| (view, saved(view))).reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((view, saved)) = first.filter(|(_, saved)| *saved > 0.0) else { break };
        for (question, with) in costs.with[view].iter().enumerate() {
            if let Some(with) = with.filter(|with| *with < now[question]) {
                now[question] = with;
                best[question] = Some(view);
            }
        }
        chosen.push(Chosen { view, saved, questions: Vec::new() });
    }
    for chosen in &mut chosen {
        let answered = best.iter().enumerate().filter(|(_, view)| **view == Some(chosen.view));
        chosen.questions = answered.map(|(question, _)| question).collect();
    }
    // Later views may have taken over all that one answered.
    chosen.retain(|chosen| !chosen.questions.is_empty());
    chosen
}

/// Rows that `view` saves when questions cost `now`.
fn saved(costs: &Costs, now: &[f64], view: usize) -> f64 {
    let questions = costs.with[view].iter().zip(now).zip(&costs.asked);
    questions.map(|((with, now), asked)| with.map_or(0.0, |with| (now - with).max(0.0) * asked)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a set of views saves.
    fn total(costs: &Costs, views: &[usize]) -> f64 {
        let of = |question: usize| {
            let with = views.iter().filter_map(|view| costs.with[*view][question]);
            costs.asked[question] * (costs.now[question] - with.fold(costs.now[question], f64::min))
        };
        (0..costs.now.len()).map(of).sum()
    }

    /// The most that `most` views can save.
    fn optimum(costs: &Costs, most: usize) -> f64 {
        let sets = 0_u32..1 << costs.with.len();
        let sets = sets.filter(|set| set.count_ones() as usize <= most);
        let views = |set: u32| (0..costs.with.len()).filter(|view| set & (1 << view) != 0).collect::<Vec<_>>();
        sets.map(|set| total(costs, &views(set))).fold(0.0, f64::max)
    }

    /// A lattice as of a cube: views are sets of dimensions and answer questions over subsets; a view's rows are the product of
    /// its dimensions' sizes, no more than the table's.
    fn cube() -> impl Strategy<Value = Costs> {
        let sizes = proptest::collection::vec(2_u32..200, 3);
        let asked = proptest::collection::vec((0_usize..8, 1_u32..50), 1..7);
        (sizes, asked, 1_000_u32..1_000_000).prop_map(|(sizes, questions, table)| {
            let rows = |view: usize| {
                let chosen = sizes.iter().enumerate().filter(|(index, _)| view & (1 << index) != 0);
                chosen.map(|(_, size)| f64::from(*size)).product::<f64>().min(f64::from(table))
            };
            let with = |view: usize| {
                let answers = |question: usize| (question & view == question).then(|| rows(view));
                questions.iter().map(|(question, _)| answers(*question)).collect()
            };
            Costs {
                asked: questions.iter().map(|(_, often)| f64::from(*often)).collect(),
                now: vec![f64::from(table); questions.len()],
                with: (0..8).map(with).collect(),
            }
        })
    }

    /// Any costs: views of existing ones, answered in part.
    fn anything() -> impl Strategy<Value = Costs> {
        (1_usize..6, 1_usize..8).prop_flat_map(|(questions, views)| {
            let with = proptest::collection::vec(proptest::option::of(0_u32..1000), questions);
            let (asked, now) =
                (proptest::collection::vec(1_u32..50, questions), proptest::collection::vec(0_u32..1000, questions));
            (asked, now, proptest::collection::vec(with, views)).prop_map(|(asked, now, with)| {
                let float = |values: Vec<u32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
                let with = with.into_iter().map(|view| view.into_iter().map(|rows| rows.map(f64::from)).collect());
                Costs { asked: float(asked), now: float(now), with: with.collect() }
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// The bound of the paper: 1 - 1/e.
        #[test]
        fn greedy_saves_at_least_63_percent_of_the_optimum(costs in prop_oneof![cube(), anything()], most in 1_usize..5) {
            let chosen = choose(&costs, most);
            let views: Vec<usize> = chosen.iter().map(|chosen| chosen.view).collect();
            let (saved, optimum) = (total(&costs, &views), optimum(&costs, most));
            prop_assert!(saved >= 0.63 * optimum, "{saved} of {optimum}: {chosen:?}");
            prop_assert!(views.len() <= most);
        }

        /// Every chosen view answers something cheaper than before, and no question is answered twice.
        #[test]
        fn chosen_views_are_used(costs in anything(), most in 1_usize..5) {
            let mut seen = std::collections::BTreeSet::new();
            for chosen in choose(&costs, most) {
                prop_assert!(chosen.saved > 0.0 && !chosen.questions.is_empty());
                for question in chosen.questions {
                    prop_assert!(seen.insert(question));
                    prop_assert!(costs.with[chosen.view][question].is_some_and(|with| with < costs.now[question]));
                }
            }
        }
    }

    #[test]
    fn one_is_enough_when_nothing_more_is_saved() {
        let costs = Costs {
            asked: vec![1.0, 5.0],
            now: vec![100.0, 100.0],
            with: vec![vec![Some(100.0), None], vec![Some(10.0), Some(10.0)], vec![None, Some(10.0)]],
        };
        assert_eq!(choose(&costs, 3), [Chosen { view: 1, saved: 540.0, questions: vec![0, 1] }]);
        assert_eq!(choose(&Costs::default(), 3), []);
    }
}
