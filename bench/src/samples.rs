//! Distributions.

/// Figures in the order they were taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Smallest, p50, p90, p99 and largest; zeros if there are none.
    pub(crate) fn spread(&self) -> [f64; 5] {
        let sorted = self.sorted();
        [0.0, 0.5, 0.9, 0.99, 1.0].map(|quantile| rank(&sorted, quantile))
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn quantile(&self, quantile: f64) -> f64 {
        rank(&self.sorted(), quantile)
    }

    /// Adds those of another.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// `f(ours, theirs)` for figures that were taken next to each other.
    pub(crate) fn paired(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(&ours, &theirs)| f(ours, theirs)).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// The nearest rank: a figure that was really seen.
fn rank(sorted: &[f64], quantile: f64) -> f64 {
    let at = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn spread_names_figures_that_were_seen() {
        let samples = Samples((1..=100).rev().map(f64::from).collect());
        assert_eq!(samples.spread(), [1.0, 50.0, 90.0, 99.0, 100.0]);
        assert_eq!(Samples::default().spread(), [0.0; 5]);
    }

    #[test]
    fn pairs_keep_their_order() {
        let (ours, theirs) = (Samples(vec![5.0, 9.0, 2.0]), Samples(vec![4.0, 6.0, 1.0]));
        assert_eq!(ours.paired(&theirs, |a, b| a - b).0, [1.0, 3.0, 1.0]);
    }
}
