//! Tasks that calculate.
//!
//! Money is decimal and exact: it is sent as text (`"1000.00"`; numbers are
//! taken too) and rounded to cents where a bank would, a half away from zero.
//! Estimates of risk are floating point, and say how sure they are.

mod money;
mod risk;

pub use money::{
    CompoundInterest, Installment, LoanAmortization, compound_interest, loan_amortization,
};
pub use risk::{
    OptionKind, OptionPrice, Position, ValueAtRisk, monte_carlo_option, portfolio_value_at_risk,
};
