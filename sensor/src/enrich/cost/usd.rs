//! Amounts of money that add up exactly.

/// US dollars, in whole picodollars (10⁻¹² USD): a price for a million tokens with six
/// decimals is a whole number of them for each token, so that no sum is rounded. Sums
/// end at 18 million dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(u64);

const PICOS: f64 = 1e12;

impl Usd {
    pub const fn from_picos(picos: u64) -> Self {
        Self(picos)
    }

    /// The nearest amount to `dollars`; none where it is negative, too much or no
    /// number.
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let picos = (dollars * PICOS).round();
        // 2^64 and above does not fit.
        let fits = (0.0..18_446_744_073_709_551_616.0).contains(&picos);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range by the line above"
        )]
        fits.then_some(Self(picos as u64))
    }

    pub const fn as_picos(self) -> u64 {
        self.0
    }

    /// The nearest number of dollars: its shortest decimal form is the exact amount up
    /// to 9,000 dollars.
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact below 2^53, and no one needs more"
    )]
    pub fn as_dollars(self) -> f64 {
        self.0 as f64 / PICOS
    }

    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }
}
