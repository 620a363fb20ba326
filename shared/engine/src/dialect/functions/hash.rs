//! Hash functions.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType, TimestampMicrosecondType,
};
use datafusion::error::Result;

use super::Gives::Type;
use super::Takes::{Any, Bytes, Int, Long, Text};
use super::{Call, Def, Foreign};
use crate::dialect::error::RowError;

mod xx;

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] = &[
    Def::new(&["hash"], &[Any], Type(Int), |call| {
        let hashes = hashes(call, &MURMUR, SEED).into_iter().map(|hash| Some(hash as i32));
        Ok(Arc::new(hashes.collect::<Int32Array>()))
    })
    .variadic(),
    Def::new(&["xxhash64"], &[Any], Type(Long), |call| {
        let hashes = hashes(call, &XX, u64::from(SEED)).into_iter().map(|hash| Some(hash as i64));
        Ok(Arc::new(hashes.collect::<Int64Array>()))
    })
    .variadic(),
    Def::new(&["hmac"], &[Bytes, Bytes, Text], Type(Bytes), hmac).optional(1),
];

/// Functions of others.
pub const FOREIGN: &[Foreign] =
    &[("md5", &[Bytes]), ("sha1", &[Bytes]), ("sha", &[Bytes]), ("sha2", &[Bytes, Int]), ("crc32", &[Bytes])];

/// A keyed hash: SHA-256 where no other is named.
fn hmac(call: &Call<'_>) -> Result<ArrayRef> {
    use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
    fn keyed<D: Digest>(key: &[u8], message: &[u8], block: usize) -> Vec<u8> {
        let mut key = if key.len() > block { D::digest(key).to_vec() } else { key.to_vec() };
        key.resize(block, 0);
        let pad = |byte: u8| key.iter().map(|key| key ^ byte).collect::<Vec<u8>>();
        let inner = D::new().chain_update(pad(0x36)).chain_update(message).finalize();
        D::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
    }
    let (keys, messages) = (call.args[0].as_binary::<i32>(), call.args[1].as_binary::<i32>());
    let value = |row: usize| -> Result<Option<Vec<u8>>, RowError> {
        if !call.complete(row) {
            return Ok(None);
        }
        let (key, message) = (keys.value(row), messages.value(row));
        let name = if call.has(2) { super::string::text(call, 2, row) } else { "SHA-256" };
        match name.to_ascii_uppercase().replace('-', "").as_str() {
            "SHA224" => Ok(Some(keyed::<Sha224>(key, message, 64))),
            "SHA256" => Ok(Some(keyed::<Sha256>(key, message, 64))),
            "SHA384" => Ok(Some(keyed::<Sha384>(key, message, 128))),
            "SHA512" => Ok(Some(keyed::<Sha512>(key, message, 128))),
            _ => Err(RowError::new("INVALID_PARAMETER_VALUE", format!("hmac knows SHA-224 to SHA-512, not '{name}'"))),
        }
    };
    let values = (0..call.rows).map(value).collect::<Result<Vec<_>, RowError>>()?;
    Ok(Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>()))
}

const SEED: u32 = 42;

/// A hash by the forms of values that it has; each is seeded with the hash of what comes before it.
struct Kind<H> {
    int: fn(u32, H) -> H,
    long: fn(u64, H) -> H,
    bytes: fn(&[u8], H) -> H,
}

const MURMUR: Kind<u32> = Kind { int: hash_int, long: hash_long, bytes: hash_bytes };
const XX: Kind<u64> = Kind { int: xx::int, long: xx::long, bytes: xx::bytes };

/// The hashes of all columns; NULL leaves a hash as it is.
fn hashes<H: Copy>(call: &Call<'_>, kind: &Kind<H>, seed: H) -> Vec<H> {
    let mut hashes = vec![seed; call.rows];
    for column in call.args {
        for (row, hash) in hashes.iter_mut().enumerate() {
            *hash = hash_value(kind, column, row, *hash);
        }
    }
    hashes
}

fn hash_value<H: Copy>(kind: &Kind<H>, array: &ArrayRef, row: usize, seed: H) -> H {
    use DataType as T;
    if array.is_null(row) {
        return seed;
    }
    let (int, long, bytes) = (kind.int, kind.long, kind.bytes);
    match array.data_type() {
        T::Boolean => int(u32::from(array.as_boolean().value(row)), seed),
        T::Int8 => int(i32::from(array.as_primitive::<Int8Type>().value(row)) as u32, seed),
        T::Int16 => int(i32::from(array.as_primitive::<Int16Type>().value(row)) as u32, seed),
        T::Int32 => int(array.as_primitive::<Int32Type>().value(row) as u32, seed),
        T::Date32 => int(array.as_primitive::<Date32Type>().value(row) as u32, seed),
        T::Interval(IntervalUnit::YearMonth) => {
            int(array.as_primitive::<IntervalYearMonthType>().value(row) as u32, seed)
        }
        T::Int64 => long(array.as_primitive::<Int64Type>().value(row) as u64, seed),
        T::Timestamp(_, _) => long(array.as_primitive::<TimestampMicrosecondType>().value(row) as u64, seed),
        T::Duration(_) => long(array.as_primitive::<DurationMicrosecondType>().value(row) as u64, seed),
        T::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            int(if value == 0.0 { 0 } else { value.to_bits() }, seed)
        }
        T::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            long(if value == 0.0 { 0 } else { value.to_bits() }, seed)
        }
        T::Decimal128(precision, _) => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            if *precision <= 18 { long(value as u64, seed) } else { bytes(&shortest(value), seed) }
        }
        T::Utf8 => bytes(array.as_string::<i32>().value(row).as_bytes(), seed),
        T::Binary => bytes(array.as_binary::<i32>().value(row), seed),
        T::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).fold(seed, |seed, i| hash_value(kind, &items, i, seed))
        }
        T::Struct(_) => {
            array.as_struct().columns().iter().fold(seed, |seed, column| hash_value(kind, column, row, seed))
        }
        _ => seed,
    }
}

/// The bytes of Java's `BigInteger.toByteArray`.
fn shortest(value: i128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let fill = if value < 0 { 0xff } else { 0 };
    let mut start = bytes.iter().take_while(|byte| **byte == fill).count().min(15);
    // The sign must stay readable.
    if start > 0 && (bytes[start] ^ fill) & 0x80 != 0 {
        start -= 1;
    }
    bytes[start..].to_vec()
}

fn mix(hash: u32, word: u32) -> u32 {
    let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    (hash ^ word).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

fn finish(hash: u32, length: u32) -> u32 {
    let hash = hash ^ length;
    let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn hash_int(value: u32, seed: u32) -> u32 {
    finish(mix(seed, value), 4)
}

fn hash_long(value: u64, seed: u32) -> u32 {
    finish(mix(mix(seed, value as u32), (value >> 32) as u32), 8)
}

fn hash_bytes(bytes: &[u8], seed: u32) -> u32 {
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    let hash = words.fold(seed, |hash, word| mix(hash, u32::from_le_bytes([word[0], word[1], word[2], word[3]])));
    // Spark mixes the last bytes one by one, each with its sign.
    let hash = rest.iter().fold(hash, |hash, byte| mix(hash, i32::from(*byte as i8) as u32));
    finish(hash, bytes.len() as u32)
}
