//! Whole numbers of up to 1,280 bits: enough for the digits of every double.

use std::cmp::Ordering;

use super::float::Number;

const LIMBS: usize = 20;

/// Little-endian limbs, the first `used` of which may be other than zero.
pub(super) struct Big {
    limbs: [u64; LIMBS],
    used: usize,
}

impl Big {
    fn times(&mut self, factor: u64) {
        let mut carry = 0u128;
        for limb in &mut self.limbs[..self.used] {
            let product = u128::from(*limb) * u128::from(factor) + carry;
            *limb = product as u64;
            carry = product >> 64;
        }
        if carry > 0 && self.used < LIMBS {
            self.limbs[self.used] = carry as u64;
            self.used += 1;
        }
    }

    fn minus(&mut self, other: &Self) {
        let mut borrow = false;
        for (i, limb) in self.limbs[..self.used].iter_mut().enumerate() {
            let (value, under) = limb.overflowing_sub(other.limbs[i]);
            let (value, under_too) = value.overflowing_sub(u64::from(borrow));
            *limb = value;
            borrow = under || under_too;
        }
        while self.used > 0 && self.limbs[self.used - 1] == 0 {
            self.used -= 1;
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_limbs = || self.limbs[..self.used].iter().rev().cmp(other.limbs[..other.used].iter().rev());
        self.used.cmp(&other.used).then_with(by_limbs)
    }

    fn plus(&self, other: &Self) -> Self {
        let mut sum = Self { limbs: [0; LIMBS], used: self.used.max(other.used) };
        let mut carry = false;
        for i in 0..sum.used {
            let (value, over) = self.limbs[i].overflowing_add(other.limbs[i]);
            let (value, over_too) = value.overflowing_add(u64::from(carry));
            sum.limbs[i] = value;
            carry = over || over_too;
        }
        if carry && sum.used < LIMBS {
            sum.limbs[sum.used] = 1;
            sum.used += 1;
        }
        sum
    }
}

impl Number for Big {
    fn of(factor: u64, five: i32, two: i32) -> Self {
        let mut value = Self { limbs: [0; LIMBS], used: 1 };
        value.limbs[0] = factor;
        let (mut five, mut two) = (five, two);
        while five > 0 {
            let step = five.min(27);
            value.times(5u64.pow(step.unsigned_abs()));
            five -= step;
        }
        while two > 0 {
            let step = two.min(63);
            value.times(1 << step);
            two -= step;
        }
        value
    }

    fn times_ten(&mut self) {
        self.times(10);
    }

    fn digit(&mut self, unit: &Self) -> u8 {
        let mut digit = 0;
        while self.compare(unit) != Ordering::Less {
            self.minus(unit);
            digit += 1;
        }
        self.times(10);
        digit
    }

    fn ends(&self, m: &Self, tens: &Self) -> (bool, bool) {
        (self.compare(m) == Ordering::Less, self.plus(m).compare(tens) != Ordering::Less)
    }

    fn half(&self, tens: &Self) -> Ordering {
        self.plus(self).compare(tens)
    }
}
