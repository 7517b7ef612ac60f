//! The two precisions that diffusers computes coefficients in.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A floating-point number: single where the betas are linear, else double.
pub(super) trait Real:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    fn of(value: f64) -> Self;
    fn f64(self) -> f64;
    fn sqrt(self) -> Self;
    fn ln(self) -> Self;
    fn exp(self) -> Self;
    fn exp_m1(self) -> Self;
}

macro_rules! real {
    ($float:ident) => {
        impl Real for $float {
            fn of(value: f64) -> Self {
                value as $float
            }
            fn f64(self) -> f64 {
                f64::from(self)
            }
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
            fn ln(self) -> Self {
                $float::ln(self)
            }
            fn exp(self) -> Self {
                $float::exp(self)
            }
            fn exp_m1(self) -> Self {
                $float::exp_m1(self)
            }
        }
    };
}

real!(f32);
real!(f64);
