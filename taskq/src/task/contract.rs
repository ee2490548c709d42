//! That a task which implements a contract keeps to it.

use std::marker::PhantomData;

/// The same type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the type that the contract has here",
    label = "the contract has `{Contract}`",
    note = "a task that implements a contract takes the same arguments in the same order, and returns the same"
)]
pub trait SameAs<Contract> {}

#[diagnostic::do_not_recommend]
impl<T> SameAs<T> for T {}

/// A type of a contract's signature, known by a value of it.
///
/// Two steps, since one call would infer the contract's type from the task's
/// and report a mismatched value, where there is a mismatched signature.
#[derive(Debug)]
pub struct Declared<T>(PhantomData<fn() -> T>);

impl<T> Declared<T> {
    /// Learns the type.
    #[must_use]
    pub fn of(_: T) -> Self {
        Self(PhantomData)
    }

    /// Compiles if the task's type is that of the contract.
    pub fn same_as<Own: SameAs<T>>(self) {}
}
