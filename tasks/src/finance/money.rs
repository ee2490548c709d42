//! Interest and loans, to the cent.

use rust_decimal::{Decimal, MathematicalOps as _, RoundingStrategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taskq::{TaskError, task};

use crate::bounds::within;

/// What becomes of a sum that earns interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompoundInterest {
    /// What it is at the end.
    pub final_amount: Decimal,
    /// What was earned.
    pub interest: Decimal,
    /// What it is at the end of each year.
    pub yearly: Vec<Decimal>,
}

/// Lets a sum earn interest, and interest on that.
///
/// # Errors
/// A permanent one when a number is out of its bounds, or the result is too
/// large to be exact.
#[task]
pub fn compound_interest(
    /// The sum at the beginning.
    principal: Decimal,
    /// Percent a year, from -100 to 1000.
    annual_rate_percent: Decimal,
    /// How many years, 1 to 200.
    years: u32,
    /// How often a year interest is added, 1 to 366; once if it does not say.
    compounds_per_year: Option<u32>,
) -> Result<CompoundInterest, TaskError> {
    let principal = amount("principal", principal)?;
    let rate = rate(
        annual_rate_percent,
        Decimal::NEGATIVE_ONE * Decimal::ONE_HUNDRED,
    )?;
    let years = within("years", years, 1, 200)?;
    let times = within(
        "compounds_per_year",
        compounds_per_year.unwrap_or(1),
        1,
        366,
    )?;
    let factor = Decimal::ONE + rate / Decimal::from(times);
    let after = |year: u32| {
        let factor = factor.checked_powu(u64::from(year * times));
        let amount = factor.and_then(|factor| factor.checked_mul(principal));
        amount.map(cents).ok_or_else(too_large)
    };
    let yearly: Vec<Decimal> = (1..=years).map(after).collect::<Result<_, _>>()?;
    let final_amount = yearly.last().copied().unwrap_or(principal);
    Ok(CompoundInterest {
        final_amount,
        interest: final_amount - principal,
        yearly,
    })
}

/// A loan, paid back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoanAmortization {
    /// What is paid each month; the last month may differ by some cents.
    pub payment: Decimal,
    /// All that is paid.
    pub total_paid: Decimal,
    /// What of it is interest.
    pub total_interest: Decimal,
    /// Month by month.
    pub schedule: Vec<Installment>,
}

/// What is paid in a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Installment {
    /// Which month, from 1.
    pub month: u32,
    /// What is paid.
    pub payment: Decimal,
    /// What of it is interest.
    pub interest: Decimal,
    /// What of it is paid back.
    pub principal: Decimal,
    /// What is still owed after it.
    pub balance: Decimal,
}

/// Plans how a loan is paid back in equal payments, one a month.
///
/// # Errors
/// A permanent one when a number is out of its bounds.
#[task]
pub fn loan_amortization(
    /// The loan, more than 0.
    principal: Decimal,
    /// Percent a year, from 0 to 1000.
    annual_rate_percent: Decimal,
    /// In how many months it is paid back, 1 to 1200.
    months: u32,
) -> Result<LoanAmortization, TaskError> {
    let principal = amount("principal", principal)?;
    if principal <= Decimal::ZERO {
        return Err(TaskError::permanent(format!(
            "principal is {principal}, and must be more than 0"
        )));
    }
    let monthly = rate(annual_rate_percent, Decimal::ZERO)? / Decimal::from(12);
    let months = within("months", months, 1, 1200)?;
    let payment = cents(payment(principal, monthly, months).ok_or_else(too_large)?);
    let mut balance = principal;
    let mut schedule = Vec::with_capacity(months as usize);
    for month in 1..=months {
        let interest = cents(balance * monthly);
        // The last one pays what is left, so that nothing is.
        let pays_all = month == months || payment >= balance + interest;
        let payment = if pays_all {
            balance + interest
        } else {
            payment
        };
        let principal = payment - interest;
        balance -= principal;
        schedule.push(Installment {
            month,
            payment,
            interest,
            principal,
            balance,
        });
        if balance.is_zero() {
            break;
        }
    }
    let total_paid: Decimal = schedule.iter().map(|month| month.payment).sum();
    Ok(LoanAmortization {
        payment,
        total_paid,
        total_interest: total_paid - principal,
        schedule,
    })
}

/// The annuity: `p * r / (1 - (1 + r)^-n)`.
fn payment(principal: Decimal, monthly: Decimal, months: u32) -> Option<Decimal> {
    if monthly.is_zero() {
        return principal.checked_div(Decimal::from(months));
    }
    let Some(growth) = (Decimal::ONE + monthly).checked_powu(u64::from(months)) else {
        // So long and dear a loan is all interest.
        return principal.checked_mul(monthly);
    };
    let share = monthly
        .checked_mul(growth)?
        .checked_div(growth - Decimal::ONE);
    // As a share, which is small, so that it does not overflow before it is divided.
    let share = share.or_else(|| Some(monthly / (Decimal::ONE - Decimal::ONE / growth)))?;
    principal.checked_mul(share)
}

fn cents(amount: Decimal) -> Decimal {
    let mut amount = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    amount.rescale(2);
    amount
}

/// Amounts are far below where a decimal of 28 digits has no more cents.
fn amount(what: &str, amount: Decimal) -> Result<Decimal, TaskError> {
    let most = Decimal::from(1_000_000_000_000_i64);
    within(what, amount, -most, most).map(cents)
}

/// A yearly rate as a factor.
fn rate(percent: Decimal, least: Decimal) -> Result<Decimal, TaskError> {
    let percent = within("annual_rate_percent", percent, least, Decimal::ONE_THOUSAND)?;
    Ok(percent / Decimal::ONE_HUNDRED)
}

fn too_large() -> TaskError {
    TaskError::permanent("the result is too large to be exact; use a lower rate or a shorter time")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn interest_is_compounded_to_the_cent() {
        let grown = compound_interest(money("1000"), money("5"), 10, None).unwrap();
        assert_eq!(grown.final_amount.to_string(), "1628.89");
        assert_eq!(grown.interest.to_string(), "628.89");
        assert_eq!(grown.yearly[0].to_string(), "1050.00");
        let monthly = compound_interest(money("1000"), money("5"), 10, Some(12)).unwrap();
        assert_eq!(monthly.final_amount.to_string(), "1647.01");
        let lost = compound_interest(money("0.10"), money("-100"), 1, None).unwrap();
        assert_eq!(lost.final_amount.to_string(), "0.00");
    }

    #[test]
    fn a_loan_is_paid_back_to_the_last_cent() {
        let loan = loan_amortization(money("200000"), money("6"), 360).unwrap();
        assert_eq!(loan.payment.to_string(), "1199.10");
        assert_eq!(loan.schedule.len(), 360);
        let first = &loan.schedule[0];
        assert_eq!(first.interest.to_string(), "1000.00");
        assert_eq!(first.balance.to_string(), "199800.90");
        for months in [1, 7, 12, 1200] {
            for rate in ["0", "0.01", "4.25", "1000"] {
                let loan = loan_amortization(money("999.99"), money(rate), months).unwrap();
                let paid: Decimal = loan.schedule.iter().map(|month| month.principal).sum();
                assert_eq!(paid, money("999.99"), "{months} months at {rate} %");
                let last = loan.schedule.last().unwrap();
                assert!(last.balance.is_zero());
            }
        }
    }

    #[test]
    fn what_is_out_of_its_bounds_is_refused_for_good() {
        for (principal, rate, months) in [("0", "5", 12), ("1", "-1", 12), ("1", "5", 0)] {
            let error = loan_amortization(money(principal), money(rate), months).unwrap_err();
            assert!(error.is_permanent(), "{error}");
        }
        let error = compound_interest(money("1"), money("1000"), 200, Some(366)).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }
}
